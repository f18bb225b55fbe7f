"""The schemas of Kubernetes, for tests: the newest four minor versions that are to be had."""

from __future__ import annotations

from typing import Any

import kubernetes_validate
from kubernetes_validate import utils

from goodput_proxy.kubernetes.pods import workload_of

VERSIONS = sorted({utils.major_minor(v) for v in utils.all_versions()}, key=utils.Version)[-4:]


def validate(data: dict[str, Any], version: str) -> bool:
    """Validate an object strictly; return whether there is a schema for it.

    Of a kind that a cluster learns of by itself the pod template is validated, as a pod.
    """
    try:
        kubernetes_validate.validate(data, version, strict=True)
    except kubernetes_validate.SchemaNotFoundError:
        workload = workload_of(data)
        if workload is None:
            return False
        metadata = {"name": "x", "annotations": workload.annotations, "labels": workload.pod_labels}
        spec = {"containers": []} | {
            key: workload.spec[key] for key in _POD_FIELDS & workload.spec.keys()
        }
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
        kubernetes_validate.validate(pod, version, strict=True)
    return True


# What KServe's predictor has in common with a pod.
_POD_FIELDS = {"containers", "initContainers", "volumes", "tolerations"}
