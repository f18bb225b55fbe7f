"""One admission review: a pod that is about to be created, and the patch that gives it the sidecar.

The answer is always yes. A pod that did not ask is none of our business; one that asked and would
not work with the sidecar is created without it, with a warning that `kubectl` shows, since a meter
must not keep a server from starting. A pod that has the sidecar already, from `inject`, from a
chart or from this webhook's first call, is left as it is: its manifest is the truth.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .plan import plan
from .pods import workload_of
from .tree import Refusal, as_mapping, as_patch

if TYPE_CHECKING:
    from .options import SidecarOptions

API_VERSION = "admission.k8s.io/v1"
KIND = "AdmissionReview"
# kubectl shows warnings of all webhooks alike: this one says whose it is.
_WARNING = "goodput-proxy: no sidecar:"


class NoReviewError(Exception):
    """The body is no AdmissionReview, so that there is nothing to answer to."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The body of the answer, and what to log of it."""

    body: dict[str, Any]
    injected: str = ""  # the pod and its server, if it got the sidecar
    warning: str = ""


def answer(review: Any, options: SidecarOptions) -> Answer:
    """Return the answer to a review.

    Raises:
        NoReviewError: when it is none.
    """
    request = as_mapping(as_mapping(review).get("request"))
    uid = request.get("uid")
    if as_mapping(review).get("kind") != KIND or not isinstance(uid, str):
        raise NoReviewError
    response: dict[str, Any] = {"uid": uid, "allowed": True}
    body = {"apiVersion": review.get("apiVersion", API_VERSION), "kind": KIND, "response": response}
    pod = workload_of(as_mapping(request.get("object")))
    if pod is None or pod.kind != "Pod" or request.get("operation", "CREATE") != "CREATE":
        return Answer(body)
    subject = f"{request.get('namespace')}/{pod.name}"
    try:
        if pod.injected or not pod.asks:
            return Answer(body)
        planned = plan(pod, options)
    except Refusal as refusal:
        warning = f"{_WARNING} {subject} {refusal}"
        response["warnings"] = [warning]
        return Answer(body, warning=warning)
    patch = json.dumps(as_patch(planned.changes))
    response["patchType"] = "JSONPatch"
    response["patch"] = base64.b64encode(patch.encode()).decode()
    return Answer(body, injected=f"{subject} in front of {planned.server}")
