"""Which container of a pod is the inference server, and on which port it listens.

The answer is taken from what the pod and the Services in front of it declare, and only where that
leaves no choice: a sidecar in front of the wrong port would measure nothing and serve nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from . import names
from .pods import KSERVE, containers_of
from .tree import Refusal, as_mapping, as_sequence, look_up

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .options import SidecarOptions
    from .pods import Workload

# KServe's name for the container that serves the model, and the port that it is told to use.
_KSERVE_CONTAINER = "kserve-container"
_KSERVE_PORT = 8080

_PROBES = ("readinessProbe", "livenessProbe", "startupProbe")


@dataclass(frozen=True, slots=True)
class Server:
    """A port that the inference server listens on."""

    container: str
    port: int
    port_name: str = ""

    def __str__(self) -> str:
        return f"{self.container}:{self.port}"

    def answers_to(self, target: object) -> bool:
        """Return whether a Service's targetPort, a number or a name, means this port."""
        return target == self.port or (bool(self.port_name) and target == self.port_name)


def find_server(
    workload: Workload, options: SidecarOptions, targets: Sequence[object] = ()
) -> Server:
    """Return the server's container and port.

    Args:
        workload: what makes the pods.
        options: may name the container, the port, or both.
        targets: the targetPorts of the Services that select these pods.

    Raises:
        Refusal: when that leaves none, or more than one.
    """
    containers = _candidates(workload, options)
    ports = [server for container in containers for server in _ports(container)]
    if options.port is not None:
        return _named(options.port, containers, ports)
    if len(ports) == 1:
        return ports[0]
    meant = [server for server in ports if any(map(server.answers_to, targets))]
    if len(meant) == 1:
        return meant[0]
    if not ports and len(containers) == 1:
        numbers = {target for target in targets if isinstance(target, int)}
        if len(numbers) == 1:
            return Server(str(containers[0].get("name")), numbers.pop())
    if len({server.container for server in ports}) == 1:
        probed = [s for s in ports if any(map(s.answers_to, _probed(containers)))]
        if len(probed) == 1:
            return probed[0]
    raise _undecided(containers, ports)


def _candidates(workload: Workload, options: SidecarOptions) -> list[dict[str, Any]]:
    containers = containers_of(workload.spec)
    if (workload.group, workload.kind) == KSERVE:
        containers = _kserve_containers(workload.spec, containers)
    if options.container is None:
        return containers
    found = [c for c in containers if c.get("name") == options.container]
    if not found:
        known = ", ".join(str(c.get("name")) for c in containers) or "none"
        raise Refusal(
            f"has no container {options.container!r}; there are {known}: name one with"
            f" --container or {names.PREFIX}container"
        )
    return found


def _kserve_containers(
    spec: dict[str, Any], containers: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Return the predictor's container, which a `model` gets from a runtime of its own."""
    served = [c for c in containers if c.get("name") == _KSERVE_CONTAINER]
    if not served and isinstance(spec.get("model"), dict):
        served = [{"name": _KSERVE_CONTAINER, "ports": spec["model"].get("ports")}]
    default = [{"containerPort": _KSERVE_PORT}]
    return [{**c, "ports": c.get("ports") or default} for c in served] or containers


def _ports(container: dict[str, Any]) -> Iterable[Server]:
    for port in as_sequence(container.get("ports")):
        number = as_mapping(port).get("containerPort")
        if isinstance(number, int) and port.get("protocol", "TCP") == "TCP":
            yield Server(str(container.get("name")), number, str(port.get("name", "")))


def _probed(containers: Iterable[dict[str, Any]]) -> list[object]:
    """Return the ports that are probed by HTTP: an inference server's health is on its API."""
    places = [(probe, "httpGet", "port") for probe in _PROBES]
    return [look_up(container, place) for container in containers for place in places]


def _named(port: str, containers: list[dict[str, Any]], ports: list[Server]) -> Server:
    wanted: object = int(port) if port.isascii() and port.isdigit() else port
    found = [server for server in ports if server.answers_to(wanted)]
    if len(found) == 1:
        return found[0]
    if not isinstance(wanted, int):
        raise Refusal(
            f"has no port named {port!r}: give its number with --port or {names.PREFIX}port"
        )
    if not 0 < wanted < 65536:
        raise Refusal(f"cannot have a port {port}: it must be from 1 to 65535")
    if not containers:
        raise Refusal("has no containers: there is nothing to measure")
    # What is not declared may be listened on all the same.
    return Server(str(containers[0].get("name")), wanted)


def _undecided(containers: list[dict[str, Any]], ports: list[Server]) -> Refusal:
    if not containers:
        return Refusal("has no containers: there is nothing to measure")
    remedy = f"name the server's with --port or {names.PREFIX}port"
    if not ports:
        known = ", ".join(str(c.get("name")) for c in containers)
        return Refusal(f"declares no port (containers: {known}): {remedy}")
    known = ", ".join(map(str, ports))
    return Refusal(f"declares several ports ({known}): {remedy}")
