"""Admission reviews: the answer is always yes, and the patch does what `inject` does."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
import yaml

from goodput_proxy.kubernetes.injection import inject
from goodput_proxy.kubernetes.options import SidecarOptions
from goodput_proxy.kubernetes.review import NoReviewError, answer
from goodput_proxy.kubernetes.selection import Selection
from tests.kubernetes.samples import SERVER, P, workload

PODS = [
    workload("Pod"),
    workload("Pod", initContainers=[{"name": "first"}], volumes=None),
    workload("Pod", annotations={"inject": "true", "config": "slo", "mode": "classic"}),
    workload("Pod", annotations={"inject": "true", "slo.ttft": "300ms", "scrape": "annotations"}),
    {"apiVersion": "v1", "kind": "Pod", "metadata": {"generateName": "x-", "annotations": {
        f"{P}inject": "true"}}, "spec": {"containers": [SERVER], "initContainers": None}},
]  # fmt: skip


def review(data: Any, **request: Any) -> dict[str, Any]:
    """Return what the API server sends."""
    request = {"uid": "1-2-3", "operation": "CREATE", "namespace": "ns", "object": data, **request}
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}


def patched(data: Any, operations: list[dict[str, Any]]) -> Any:
    """Return what RFC 6902 makes of it, for the four kinds of operations that there are."""
    data = json.loads(json.dumps(data))
    for operation in operations:
        keys = [key.replace("~1", "/").replace("~0", "~") for key in operation["path"].split("/")]
        parent = data
        for key in keys[1:-1]:
            parent = parent[int(key)] if isinstance(parent, list) else parent[key]
        if isinstance(parent, list):
            assert (operation["op"], keys[-1]) == ("add", "-")
            parent.append(operation["value"])
        else:
            assert (operation["op"] == "replace") == (keys[-1] in parent)
            parent[keys[-1]] = operation["value"]
    return data


@pytest.mark.parametrize("pod", PODS)
def test_the_patch_gives_what_inject_gives(pod: dict[str, Any]) -> None:
    """One pod, two ways, one result; the second review of it changes nothing."""
    options = SidecarOptions(image="registry/image:1")
    response = answer(review(pod), options).body["response"]
    patch = json.loads(base64.b64decode(response["patch"]))
    (text,) = inject([("in", yaml.safe_dump(pod))], Selection(), options).texts

    assert (response["uid"], response["allowed"]) == ("1-2-3", True)
    assert response["patchType"] == "JSONPatch"
    assert patched(pod, patch) == yaml.safe_load(text)
    assert answer(review(patched(pod, patch)), options).body["response"] == {
        "uid": "1-2-3",
        "allowed": True,
    }


@pytest.mark.parametrize(
    "request_",
    [
        review(workload("Pod", annotations={})),
        review(workload("Pod", annotations={"inject": "false"})),
        review(workload()),
        review(workload("Pod"), operation="DELETE"),
        review({"apiVersion": "x.dev/v9", "kind": "Unknown"}),
        review(None),
        review({"apiVersion": "v1", "kind": "Pod"}),
        review({"apiVersion": "v1", "kind": "Pod", "metadata": 1, "spec": "x"}),
    ],
)
def test_what_is_none_of_our_business(request_: dict[str, Any]) -> None:
    """Whatever did not ask, or is not known, is allowed as it is, without a word."""
    response = answer(request_, SidecarOptions()).body["response"]

    assert response == {"uid": "1-2-3", "allowed": True}


@pytest.mark.parametrize(
    ("pod", "reason"),
    [
        (workload("Pod", annotations={"inject": "yes"}), 'must be "true" or "false"'),
        (workload("Pod", annotations={"inject": "true", "slo.ttft": "5"}), "has no unit"),
        (workload("Pod", hostNetwork=True), "is on the host's network"),
    ],
)
def test_a_refusal_is_a_warning(pod: dict[str, Any], reason: str) -> None:
    """A pod that would not work with the sidecar starts without it, and the user is told why."""
    response = answer(review(pod), SidecarOptions()).body["response"]

    assert response["allowed"] is True
    assert "patch" not in response
    (warning,) = response["warnings"]
    assert warning.startswith("goodput-proxy: no sidecar: ns/llm ")
    assert reason in warning


@pytest.mark.parametrize("body", [None, [], {}, {"kind": "AdmissionReview"}, {"kind": "Pod"}])
def test_what_is_no_review(body: Any) -> None:
    """Without a uid there is nobody to answer."""
    with pytest.raises(NoReviewError):
        answer(body, SidecarOptions())
