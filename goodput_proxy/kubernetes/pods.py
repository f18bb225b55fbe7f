"""Where in an object the pods are described, kind by kind.

A workload is one object with one pod template that serves. Kinds are known by group and name, as
several groups have a `Service`; a kind that is not in the table has no template here and is never
touched. InferenceService has no template of its own: its predictor is a pod's spec and metadata
in one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from . import names
from .tree import Refusal, as_mapping, as_sequence, look_up

if TYPE_CHECKING:
    from .tree import Path

KSERVE = ("serving.kserve.io", "InferenceService")
LEADER_WORKER_SET = ("leaderworkerset.x-k8s.io", "LeaderWorkerSet")
_STATEFUL_SET = ("apps", "StatefulSet")

_TEMPLATES: dict[tuple[str, str], Path] = {
    ("", "Pod"): (),
    ("", "ReplicationController"): ("spec", "template"),
    ("apps", "Deployment"): ("spec", "template"),
    ("apps", "DaemonSet"): ("spec", "template"),
    ("apps", "ReplicaSet"): ("spec", "template"),
    _STATEFUL_SET: ("spec", "template"),
    ("batch", "Job"): ("spec", "template"),
    ("batch", "CronJob"): ("spec", "jobTemplate", "spec", "template"),
    LEADER_WORKER_SET: ("spec", "leaderWorkerTemplate", "leaderTemplate"),
    KSERVE: ("spec", "predictor"),
}
KINDS = {kind for _, kind in _TEMPLATES}

_WORKERS: Path = ("spec", "leaderWorkerTemplate", "workerTemplate")


@dataclass(frozen=True, slots=True)
class Workload:
    """An object that makes pods.

    Args:
        data: the object itself, as plain data.
        template: the way from the object to its pod template.
        whole: the template is metadata and spec in one.
        labels: labels that its pods get beside those of the template.
    """

    group: str
    kind: str
    data: dict[str, Any]
    template: Path
    whole: bool = False
    labels: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.kind}/{self.name}"

    @property
    def name(self) -> str:
        """The object's name, or what it is generated from."""
        metadata = as_mapping(self.data.get("metadata"))
        return str(metadata.get("name") or metadata.get("generateName") or "(no name)")

    @property
    def namespace(self) -> str | None:
        """The object's namespace, if it says."""
        namespace = look_up(self.data, ("metadata", "namespace"))
        return None if namespace is None else str(namespace)

    @property
    def metadata_path(self) -> Path:
        """The way to the pods' labels and annotations."""
        return self.template if self.whole else (*self.template, "metadata")

    @property
    def spec_path(self) -> Path:
        """The way to the pods' spec."""
        return self.template if self.whole else (*self.template, "spec")

    @property
    def spec(self) -> dict[str, Any]:
        """The pods' spec."""
        return as_mapping(look_up(self.data, self.spec_path))

    @property
    def annotations(self) -> dict[str, Any]:
        """The pods' annotations."""
        return as_mapping(look_up(self.data, (*self.metadata_path, "annotations")))

    @property
    def pod_labels(self) -> dict[str, Any]:
        """The pods' labels, as a Service's selector sees them."""
        return self.labels | as_mapping(look_up(self.data, (*self.metadata_path, "labels")))

    @property
    def injected(self) -> bool:
        """Whether the sidecar has been added."""
        return names.RECORD in self.annotations

    @property
    def owned(self) -> bool:
        """Whether another object makes this one, and would make it again as it was."""
        return bool(look_up(self.data, ("metadata", "ownerReferences")))

    @property
    def asks(self) -> bool | None:
        """What the annotation says: yes, no, or nothing.

        Raises:
            Refusal: when it is neither "true" nor "false".
        """
        value = self.annotations.get(names.INJECT)
        if value not in {"true", "false", None}:
            raise Refusal(f'annotation {names.INJECT}: must be "true" or "false" (got {value!r})')
        return None if value is None else value == "true"

    @property
    def ends(self) -> bool:
        """Whether its pods are meant to come to an end by themselves."""
        return self.group == "batch" or self.spec.get("restartPolicy") in {"OnFailure", "Never"}


def workload_of(data: dict[str, Any]) -> Workload | None:
    """Return the workload that an object is, if it is one."""
    group, kind = group_of(data), str(data.get("kind", ""))
    template = _TEMPLATES.get((group, kind))
    if template is None or not isinstance(look_up(data, template), dict):
        if (group, kind) != LEADER_WORKER_SET:
            return None
        # Without a template of their own, leaders are made as workers are.
        template = _WORKERS
        if not isinstance(look_up(data, template), dict):
            return None
    whole = (group, kind) == KSERVE
    return Workload(group, kind, data, template, whole, _labels_given(group, kind, data))


def group_of(data: dict[str, Any]) -> str:
    """Return the API group of an object; the core group is empty."""
    group, slash, _ = str(data.get("apiVersion", "")).rpartition("/")
    return group if slash else ""


def check_kind(workload: Workload) -> None:
    """Make sure that a sidecar in this kind's pods would serve.

    Raises:
        Refusal: when it would not.
    """
    kind = (workload.group, workload.kind)
    if kind == LEADER_WORKER_SET and workload.template == _WORKERS:
        size = look_up(workload.data, ("spec", "leaderWorkerTemplate", "size"))
        if size not in {None, 1}:
            raise Refusal(
                "has no leaderTemplate, so that its workers, which serve nothing, would get the"
                " sidecar and never be ready; give the leader a leaderTemplate"
            )
    if kind == KSERVE:
        mode = look_up(workload.data, ("metadata", "annotations", f"{KSERVE[0]}/deploymentMode"))
        if mode not in {"Standard", "RawDeployment"}:
            raise Refusal(
                "may run under Knative, where one container alone may have ports; set the"
                f" annotation {KSERVE[0]}/deploymentMode: Standard (older versions: RawDeployment)"
            )
        if "workerSpec" in workload.spec:
            raise Refusal("is a multi-node predictor (workerSpec), where a sidecar has no place")


def misplaced_wish(workload: Workload) -> str | None:
    """Return where else than on the pod template an object asks for the sidecar, if it does."""
    places: list[Path] = [("metadata", "annotations")]
    if workload.kind == LEADER_WORKER_SET[1]:
        places.append((*_WORKERS, "metadata", "annotations"))
    for place in places:
        wishes = names.INJECT in as_mapping(look_up(workload.data, place))
        if wishes and place[:-1] != workload.metadata_path:
            return ".".join(map(str, place))
    return None


def containers_of(spec: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the containers that run as long as the pod does, native sidecars among them."""
    stays = [
        container
        for container in as_sequence(spec.get("initContainers"))
        if as_mapping(container).get("restartPolicy") == "Always"
    ]
    found = [*as_sequence(spec.get("containers")), *stays]
    return [container for container in found if isinstance(container, dict)]


def sidecar_port(workload: Workload) -> int | None:
    """Return where the sidecar that a workload already has takes requests."""
    for container in containers_of(workload.spec):
        for port in map(as_mapping, as_sequence(container.get("ports"))):
            if port.get("name") == names.PORT_NAME and isinstance(port.get("containerPort"), int):
                return int(port["containerPort"])
    return None


def _labels_given(group: str, kind: str, data: dict[str, Any]) -> dict[str, str]:
    """Return what a controller adds to the labels of the pods that clients are sent to."""
    name = str(look_up(data, ("metadata", "name")) or "")
    if (group, kind) == LEADER_WORKER_SET:
        domain = "leaderworkerset.sigs.k8s.io"
        return {f"{domain}/name": name, f"{domain}/worker-index": "0"}
    if (group, kind) == _STATEFUL_SET:
        return {"statefulset.kubernetes.io/pod-name": f"{name}-0"}
    return {}
