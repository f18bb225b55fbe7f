"""What leads to the server: Services and InferencePools, which are to lead to the sidecar.

A port that leads to the server's is moved to the sidecar's; all others stay. The number is used,
never the port's name: a Service finds the name of an init container's port only from Kubernetes
1.32 on. What a port led to before stands in an annotation of the Service, spelled as it was.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from . import names
from .pods import group_of
from .tree import Drop, Put, Refusal, Replace, as_mapping, as_sequence, look_up

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from .plan import Plan
    from .pods import Workload
    from .tree import Change, Path

KINDS = {"Service", "InferencePool"}
_ANNOTATIONS: Path = ("metadata", "annotations")
_POOL_GROUPS = {"inference.networking.k8s.io", "inference.networking.x-k8s.io"}


@dataclass(frozen=True, slots=True)
class Target:
    """One number or name that a route leads to.

    Args:
        key: tells it from the others of the route.
        path: where it stands, if it is written.
        value: what is meant, written or not.
    """

    key: str
    path: Path
    value: object
    written: bool = True


@dataclass(frozen=True, slots=True)
class Route:
    """A Service or an InferencePool."""

    kind: str
    data: dict[str, Any]
    selector: dict[str, Any]
    targets: tuple[Target, ...]

    def __str__(self) -> str:
        return f"{self.kind}/{look_up(self.data, ('metadata', 'name'))}"

    @property
    def headless(self) -> bool:
        """Whether clients are told the pods' addresses and choose the port themselves."""
        return bool(look_up(self.data, ("spec", "clusterIP")) == "None")

    @property
    def annotations(self) -> dict[str, Any]:
        """Its annotations."""
        return as_mapping(look_up(self.data, _ANNOTATIONS))

    @property
    def moved(self) -> bool:
        """Whether it has been led to a sidecar."""
        return names.ROUTES_RECORD in self.annotations

    def selects(self, workload: Workload) -> bool:
        """Return whether it leads to a workload's pods."""
        namespace = look_up(self.data, ("metadata", "namespace"))
        if None not in {namespace, workload.namespace} and namespace != workload.namespace:
            return False
        labels = workload.pod_labels
        return bool(self.selector) and all(
            labels.get(key) == value for key, value in self.selector.items()
        )


def route_of(data: dict[str, Any]) -> Route | None:
    """Return the route that an object is, if it is one."""
    group, kind = group_of(data), data.get("kind")
    spec = as_mapping(data.get("spec"))
    selector = as_mapping(spec.get("selector"))
    if (group, kind) == ("", "Service"):
        return Route("Service", data, selector, tuple(_service_targets(spec)))
    if group in _POOL_GROUPS and kind == "InferencePool":
        selector = as_mapping(selector.get("matchLabels", selector))
        return Route("InferencePool", data, selector, tuple(_pool_targets(spec)))
    return None


def move(route: Route, plans: Sequence[Plan], spelling: Callable[[Path], str]) -> list[Change]:
    """Return the changes that lead a route to the sidecars of the workloads that it selects.

    Raises:
        Refusal: when they are not all to be found on one port.
    """
    changes: list[Change] = []
    before: dict[str, str | None] = {}
    for target in route.targets:
        meant = [plan for plan in plans if plan.server.answers_to(target.value)]
        ports = {plan.sidecar.port for plan in meant}
        if not meant:
            continue
        if len(ports) > 1 or len(meant) < len(plans):
            found = ", ".join(f"{plan.workload} ({plan.server})" for plan in plans)
            raise Refusal(
                f"leads to several workloads ({found}) that cannot be reached on one port with"
                " their sidecars; give them the same ports, or a Service each"
            )
        before[target.key] = spelling(target.path) if target.written else None
        changes.append((Replace if target.written else Put)(target.path, ports.pop()))
    return [*changes, *_write(route, before, spelling)] if changes else []


def restore(route: Route) -> list[Change]:
    """Return the changes that lead a route to where it led before; none if it was not moved.

    Raises:
        Refusal: when the annotation does not say what was written there.
    """
    if not route.moved:
        return []
    record = _read(route)
    targets = {target.key: target for target in route.targets}
    changes: list[Change] = []
    for key, spelled in record["targets"].items():
        if key not in targets:
            continue  # the port has been removed since
        path = targets[key].path
        if spelled is None:
            changes.append(Drop(path))
        else:
            changes.append(Replace(path, yaml.safe_load(spelled), spelled))
    if len(route.annotations) > 1 or "annotations" not in record:
        return [*changes, Drop((*_ANNOTATIONS, names.ROUTES_RECORD))]
    was = record["annotations"]
    return [*changes, Drop(_ANNOTATIONS) if was is None else Replace(_ANNOTATIONS, None, was)]


def _write(
    route: Route, targets: dict[str, str | None], spelling: Callable[[Path], str]
) -> Iterator[Change]:
    """Yield what writes down where a route led; `annotations` says how their place was, if odd."""
    metadata = look_up(route.data, ("metadata",))
    if not isinstance(metadata, dict):
        raise Refusal("has no metadata")
    record: dict[str, Any] = {"targets": targets}
    if "annotations" not in metadata:
        record["annotations"] = None
        yield Put(_ANNOTATIONS, {names.ROUTES_RECORD: _dump(record)})
    elif metadata["annotations"] is None:
        record["annotations"] = spelling(_ANNOTATIONS)
        yield Replace(_ANNOTATIONS, {names.ROUTES_RECORD: _dump(record)})
    else:
        yield Put((*_ANNOTATIONS, names.ROUTES_RECORD), _dump(record))


def _dump(record: dict[str, Any]) -> str:
    return json.dumps(record, separators=(",", ":"))


def _read(route: Route) -> dict[str, Any]:
    """Return the record, its targets as they were spelled."""
    try:
        record = as_mapping(json.loads(route.annotations[names.ROUTES_RECORD]))
        spelled = [text for text in as_mapping(record.get("targets")).values() if text is not None]
        sound = all(isinstance(yaml.safe_load(text), str | int) for text in spelled)
    except (TypeError, ValueError, AttributeError, yaml.YAMLError):
        sound = False
    if not sound or not record.get("targets"):
        raise Refusal(
            f"annotation {names.ROUTES_RECORD}: is not what was written there; set the ports and"
            " remove the annotation by hand"
        )
    return record


def _service_targets(spec: dict[str, Any]) -> Iterator[Target]:
    for index, port in enumerate(map(as_mapping, as_sequence(spec.get("ports")))):
        if port.get("protocol", "TCP") == "TCP":
            path: Path = ("spec", "ports", index, "targetPort")
            # What is left out is the Service's own port.
            value = port.get("targetPort") or port.get("port")
            yield Target(str(port.get("port")), path, value, "targetPort" in port)


def _pool_targets(spec: dict[str, Any]) -> Iterator[Target]:
    name = "targetPortNumber"
    if name in spec:
        yield Target(name, ("spec", name), spec[name])
    for index, port in enumerate(as_sequence(spec.get("targetPorts"))):
        path: Path = ("spec", "targetPorts", index, "number")
        yield Target(str(index), path, as_mapping(port).get("number"))
