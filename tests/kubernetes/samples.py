"""Objects as plain data, to be injected in tests."""

from __future__ import annotations

from typing import Any

import yaml

from goodput_proxy.kubernetes.injection import Outcome, inject
from goodput_proxy.kubernetes.options import SidecarOptions
from goodput_proxy.kubernetes.selection import Selection

P = "goodput-proxy.dev/"
RECORD = f"{P}injected"
ALL = Selection(everything=True)
ASKING = Selection()
SERVER = {"name": "server", "ports": [{"containerPort": 8000, "name": "http"}]}


def workload(
    kind: str = "Deployment", name: str = "llm", *, group: str = "apps/v1", **spec: Any
) -> dict[str, Any]:
    """Return an object with a pod template; annotations and labels are the template's."""
    annotations = {f"{P}{k}": v for k, v in spec.pop("annotations", {"inject": "true"}).items()}
    metadata = {"labels": {"app": "llm"} | spec.pop("labels", {}), "annotations": annotations}
    template = {"metadata": metadata, "spec": {"containers": [SERVER], **spec}}
    metadata_of_object = {"name": name}
    outer: dict[str, Any] = {"template": template}
    if kind == "CronJob":
        outer = {"jobTemplate": {"spec": outer}}
    if kind == "Pod":
        return {"apiVersion": "v1", "kind": kind, "metadata": metadata | {"name": name}} | {
            "spec": template["spec"]
        }
    return {"apiVersion": group, "kind": kind, "metadata": metadata_of_object, "spec": outer}


def service(name: str = "llm", **spec: Any) -> dict[str, Any]:
    """Return a Service that leads to the workloads above."""
    spec = {"selector": {"app": "llm"}, "ports": [{"port": 80, "targetPort": 8000}], **spec}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


def run(
    *objects: dict[str, Any], selection: Selection = ASKING, **options: Any
) -> tuple[list[Any], Outcome]:
    """Inject and return the objects that come out."""
    text = yaml.safe_dump_all(objects, sort_keys=False)
    outcome = inject([("in.yaml", text)], selection, SidecarOptions.model_validate(options))
    return list(yaml.safe_load_all(outcome.texts[0])), outcome


def sidecar(data: dict[str, Any], kind: str = "initContainers") -> dict[str, Any]:
    """Return the sidecar of an object with a pod template."""
    found: dict[str, Any] = data["spec"]["template"]["spec"][kind][-1]
    assert found["name"] == "goodput-proxy"
    return found
