"""The changes that put a sidecar into a pod template, and the record of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from goodput_proxy import __version__

from . import names
from .container import build_container, build_volume
from .record import Record
from .tree import Append, Put, Refusal, Replace, as_mapping, look_up

if TYPE_CHECKING:
    from collections.abc import Callable

    from .container import Sidecar
    from .pods import Workload
    from .tree import Change, Path


class Addition:
    """Collects the changes to one template.

    Args:
        workload: what the template belongs to.
        sidecar: what is added.
        annotations: what is added beside the record.
        spelling: returns how the manifest spells the scalar at a place.
    """

    def __init__(
        self,
        workload: Workload,
        sidecar: Sidecar,
        annotations: dict[str, str],
        spelling: Callable[[Path], str],
    ) -> None:
        self._workload = workload
        self._spelling = spelling
        self._record = Record(__version__, sidecar.name, annotations=list(annotations))
        self._changes: list[Change] = []
        self._add_to_spec(sidecar)
        self._add_to_metadata({names.LABEL: "true"}, annotations)

    @property
    def changes(self) -> tuple[Change, ...]:
        """The changes, in the order in which they are to be made."""
        return tuple(self._changes)

    def _add_to_spec(self, sidecar: Sidecar) -> None:
        kind = "initContainers" if sidecar.native else "containers"
        path = (*self._workload.spec_path, kind)
        self._change(path, self._note(path), [build_container(sidecar)])
        if sidecar.config_map is not None:
            path = (*self._workload.spec_path, "volumes")
            self._change(path, self._note(path), [build_volume(sidecar.config_map)])

    def _add_to_metadata(self, labels: dict[str, str], annotations: dict[str, str]) -> None:
        path = self._workload.metadata_path
        if self._note(path) is not Append:
            annotations = {**annotations, names.RECORD: self._record.write()}
            self._changes.append(Put(path, {"labels": labels, "annotations": annotations}))
            return
        labels_path, annotations_path = (*path, "labels"), (*path, "annotations")
        self._change(labels_path, self._note(labels_path), labels)
        # The record is complete only when it is known what its own place was like.
        way = self._note(annotations_path)
        annotations = {**annotations, names.RECORD: self._record.write()}
        self._change(annotations_path, way, annotations)

    def _note(self, path: Path) -> type[Put | Append | Replace]:
        """Return how a place is filled, and put on record if it is made or was null."""
        kind = str(path[-1])
        parent = as_mapping(look_up(self._workload.data, path[:-1])) if path else {}
        if path and kind not in parent:
            self._record.created.append(kind)
            return Put
        if path and parent[kind] is None:
            self._record.was[kind] = self._spelling(path)
            return Replace
        return Append

    def _change(
        self,
        path: Path,
        way: type[Put | Append | Replace],
        value: list[Any] | dict[str, Any],
    ) -> None:
        if way is not Append:
            self._changes.append(way(path, value))
            return
        present = look_up(self._workload.data, path)
        if not isinstance(present, type(value)):
            raise Refusal(f"has {path[-1]} that are not a {_KINDS[type(value)]}")
        if isinstance(value, dict):
            self._changes += [Put((*path, key), item) for key, item in value.items()]
        else:
            self._changes += [Append(path, item) for item in value]


_KINDS = {list: "list", dict: "mapping"}
