"""What the sidecar of one workload is to be, and whether its pods would work with it.

Everything that would make a pod fail, hang or go unmeasured is refused here, with the reason and
the remedy: the alternative is to find out from a rollout that does not end.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from . import names
from .addition import Addition
from .container import Sidecar, default_limits, default_requests
from .pods import KSERVE, check_kind, containers_of
from .server import Server, find_server
from .tree import Refusal, as_mapping, as_sequence

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .options import SidecarOptions
    from .pods import Workload
    from .tree import Change, Path

# KServe's Service leads to the container of this name when there is one.
_KSERVE_SIDECAR = "transformer-container"
# Named only where the pod would make it root: on some clusters users are not for pods to choose.
_NOBODY = 65532
# The kubelet's own default.
_GRACE_S = 30
# What a plain container keeps of the grace period for itself, to log and to exit.
_SPARE_S = 3


@dataclass(frozen=True, slots=True)
class Plan:
    """The sidecar of one workload, decided."""

    workload: Workload
    server: Server
    sidecar: Sidecar
    changes: tuple[Change, ...]


def plan(
    workload: Workload,
    options: SidecarOptions,
    targets: Sequence[object] = (),
    spelling: Callable[[Path], str] = lambda _: "null",
) -> Plan:
    """Return how the sidecar is added to a workload that does not have it.

    Args:
        workload: what makes the pods.
        options: choices for all pods; the pod's own annotations refine them.
        targets: the targetPorts of the Services that select these pods.
        spelling: returns how the manifest spells the scalar at a place.

    Raises:
        Refusal: when the pods would not work with it.
    """
    check_kind(workload)
    options = options.refine(workload.annotations)
    server = find_server(workload, options, targets)
    sidecar = _decide(workload, options, server)
    _check_fit(workload, options, sidecar)
    if server.port in {sidecar.port, sidecar.admin_port}:
        raise Refusal(
            f"has its server on port {server.port}, where the sidecar would listen; choose other"
            " ports with --listen-port and --admin-port, or the annotations of these names"
        )
    annotations = _scrape_annotations(workload, options)
    addition = Addition(workload, sidecar, annotations, spelling)
    return Plan(workload, server, sidecar, addition.changes)


def _decide(workload: Workload, options: SidecarOptions, server: Server) -> Sidecar:
    kserve = (workload.group, workload.kind) == KSERVE
    native = options.mode == "native" and not kserve
    wishes = options.resources
    limits, requests = default_limits(options.workers), default_requests(options.workers)
    limits["cpu"] = wishes.cpu_limit or limits["cpu"]
    limits["memory"] = wishes.memory_limit or limits["memory"]
    requests["cpu"] = wishes.cpu_request or requests["cpu"]
    requests["memory"] = wishes.memory_request or requests["memory"]
    if _is_guaranteed(workload.spec):
        # Else the whole pod would lose its class, and with it its exclusive cores.
        requests = dict(limits)
    return Sidecar(
        image=options.image,
        name=_KSERVE_SIDECAR if kserve else names.CONTAINER,
        native=native,
        upstream=options.upstream or f"http://127.0.0.1:{server.port}",
        port=options.listen_port,
        admin_port=options.admin_port,
        workers=options.workers,
        flags=options.flags if native else (*options.flags, *_drain_flags(workload.spec)),
        config_map=options.config,
        requests=requests,
        limits=limits,
        run_as_user=_NOBODY if _is_root(workload.spec) else None,
    )


def _drain_flags(spec: dict[str, Any]) -> tuple[str, ...]:
    """Return how a plain container drains: it is told to stop when the server is.

    A native sidecar is told so after the server has ended, when nothing is left to drain.
    """
    grace_s = spec.get("terminationGracePeriodSeconds", _GRACE_S)
    grace_s = grace_s if isinstance(grace_s, int) else _GRACE_S
    delay_s = min(5, grace_s // 4)
    return (f"drain.delay={delay_s}s", f"drain.timeout={max(1, grace_s - delay_s - _SPARE_S)}s")


def _check_fit(workload: Workload, options: SidecarOptions, sidecar: Sidecar) -> None:
    spec = workload.spec
    if workload.ends and not sidecar.native:
        raise Refusal(
            "comes to an end by itself, and a plain container would keep it from ending; use"
            f" --mode native or {names.PREFIX}mode: native"
        )
    chosen = options.model_fields_set
    if spec.get("hostNetwork") is True and not {"listen_port", "admin_port"} <= chosen:
        raise Refusal(
            "is on the host's network (hostNetwork), where ports are the node's; choose two that"
            f" are free on every node with {names.PREFIX}listen-port and {names.PREFIX}admin-port"
        )
    if sidecar.port == sidecar.admin_port:
        raise Refusal(f"cannot have listen-port and admin-port both at {sidecar.port}")
    for container in [*as_sequence(spec.get("initContainers")), *containers_of(spec)]:
        _check_container(as_mapping(container), sidecar)
    for volume in as_sequence(spec.get("volumes")):
        if sidecar.config_map is not None and as_mapping(volume).get("name") == names.VOLUME:
            raise Refusal(f"has a volume {names.VOLUME} already; rename it")
    if names.LABEL in workload.pod_labels:
        raise Refusal(f"has the label {names.LABEL} but no sidecar; remove the label")


def _check_container(container: dict[str, Any], sidecar: Sidecar) -> None:
    name = container.get("name")
    if name == sidecar.name:
        raise Refusal(
            f"has a container {name} that this command did not add; remove or rename it first"
        )
    purposes = {
        sidecar.port: ("take requests", "listen-port"),
        sidecar.admin_port: ("serve its metrics", "admin-port"),
    }
    for port in map(as_mapping, as_sequence(container.get("ports"))):
        number = port.get("containerPort")
        if number in purposes:
            purpose, option = purposes[number]
            raise Refusal(
                f"uses port {number} in container {name}, where the sidecar would {purpose};"
                f" choose another with --{option} or {names.PREFIX}{option}"
            )
        if port.get("name") in {names.PORT_NAME, names.ADMIN_PORT_NAME}:
            raise Refusal(
                f"has a port named {port['name']} in container {name}, which is what the sidecar's"
                " own is called; rename it"
            )


def _scrape_annotations(workload: Workload, options: SidecarOptions) -> dict[str, str]:
    if options.scrape != "annotations":
        return {}
    wanted = {
        "prometheus.io/scrape": "true",
        "prometheus.io/port": str(options.admin_port),
        "prometheus.io/path": "/metrics",
    }
    if taken := sorted(wanted.keys() & workload.annotations.keys()):
        raise Refusal(
            f"has the annotation {taken[0]} already, and can have only one of it; use"
            " --scrape label and a PodMonitor, or remove the annotation"
        )
    return wanted


def _is_guaranteed(spec: dict[str, Any]) -> bool:
    """Return whether each container's requests are its limits, in cores and in memory."""
    containers = [*as_sequence(spec.get("initContainers")), *as_sequence(spec.get("containers"))]
    kinds = ("cpu", "memory")
    for container in containers:
        resources = as_mapping(as_mapping(container).get("resources"))
        limits, requests = (
            as_mapping(resources.get("limits")),
            as_mapping(resources.get("requests")),
        )
        if any(kind not in limits for kind in kinds):
            return False
        if any(str(requests.get(kind, limits[kind])) != str(limits[kind]) for kind in kinds):
            return False
    return bool(containers)


def _is_root(spec: dict[str, Any]) -> bool:
    return bool(as_mapping(spec.get("securityContext")).get("runAsUser") == 0)
