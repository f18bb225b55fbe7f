"""The changes that take the sidecar out of a pod template, as its record says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import names
from .record import Record
from .tree import Drop, Replace, as_mapping, as_sequence, look_up

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .pods import Workload
    from .tree import Change, Path


def remove(workload: Workload) -> list[Change]:
    """Return the changes; none when the sidecar is not there.

    What others have added since stays.

    Raises:
        Refusal: when the record is not one.
    """
    if not workload.injected:
        return []
    record = Record.read(workload)
    spec = workload.spec_path
    changes = [
        *_take_item(workload, record, (*spec, "initContainers"), record.container),
        *_take_item(workload, record, (*spec, "containers"), record.container),
        *_take_item(workload, record, (*spec, "volumes"), names.VOLUME),
    ]
    ours = {names.LABEL, names.RECORD, *record.annotations}
    metadata = workload.metadata_path
    if _is_made_for_it(workload, record, ours):
        return [*changes, *_take(record, metadata, metadata, alone=True)]
    for kind in ("labels", "annotations"):
        changes += _take_keys(workload, record, (*metadata, kind), ours)
    return changes


def _take_item(workload: Workload, record: Record, path: Path, name: str) -> Iterator[Change]:
    """Yield what removes an item of a list, and the list if it was made for it."""
    items = as_sequence(look_up(workload.data, path))
    for index, item in enumerate(items):
        if as_mapping(item).get("name") == name:
            yield from _take(record, path, (*path, index), alone=len(items) == 1)


def _take_keys(workload: Workload, record: Record, path: Path, ours: set[str]) -> Iterator[Change]:
    present = as_mapping(look_up(workload.data, path))
    keys = [key for key in present if key in ours]
    if len(keys) == len(present) and path[-1] in {*record.created, *record.was}:
        yield from _take(record, path, path, alone=True)
    else:
        # The last first, so that what stands before it is still its neighbour.
        yield from (Drop((*path, key)) for key in reversed(keys))


def _take(record: Record, whole: Path, part: Path, *, alone: bool) -> Iterator[Change]:
    kind = str(whole[-1])
    if alone and kind in record.was:
        yield Replace(whole, None, record.was[kind])
    elif alone and kind in record.created:
        yield Drop(whole)
    else:
        yield Drop(part)


def _is_made_for_it(workload: Workload, record: Record, ours: set[str]) -> bool:
    """Return whether the pods' metadata as a whole was added, and still holds nothing else."""
    if "metadata" not in {*record.created, *record.was}:
        return False
    metadata = as_mapping(look_up(workload.data, workload.metadata_path))
    return metadata.keys() <= {"labels", "annotations"} and all(
        as_mapping(group).keys() <= ours for group in metadata.values()
    )
