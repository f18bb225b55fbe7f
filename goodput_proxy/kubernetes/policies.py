"""NetworkPolicies that would keep clients from the sidecar."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from . import names
from .pods import group_of
from .tree import as_mapping, as_sequence, look_up

if TYPE_CHECKING:
    from .pods import Workload

KIND = "NetworkPolicy"
KINDS = {KIND}


@dataclass(frozen=True, slots=True)
class Policy:
    """A NetworkPolicy that restricts who may connect."""

    data: dict[str, Any]

    def __str__(self) -> str:
        return f"{KIND}/{look_up(self.data, ('metadata', 'name'))}"

    def concerns(self, workload: Workload) -> bool:
        """Return whether it is about a workload's pods; a selector of expressions is not read."""
        selector = as_mapping(look_up(self.data, ("spec", "podSelector")))
        wanted, labels = as_mapping(selector.get("matchLabels")), workload.pod_labels
        namespace = look_up(self.data, ("metadata", "namespace"))
        return (
            not selector.get("matchExpressions")
            and (None in {namespace, workload.namespace} or namespace == workload.namespace)
            and all(labels.get(key) == value for key, value in wanted.items())
        )

    def admits(self, number: int) -> bool:
        """Return whether anybody may connect to the sidecar's port."""
        for rule in map(as_mapping, as_sequence(look_up(self.data, ("spec", "ingress")))):
            if not rule.get("ports"):
                return True
            for port in map(as_mapping, as_sequence(rule["ports"])):
                first = port.get("port", number)
                last = port.get("endPort", first)
                if first == names.PORT_NAME:
                    return True
                if isinstance(first, int) and isinstance(last, int) and first <= number <= last:
                    return True
        return False


def policy_of(data: dict[str, Any]) -> Policy | None:
    """Return the policy on incoming connections that an object is, if it is one."""
    if (group_of(data), data.get("kind")) != ("networking.k8s.io", KIND):
        return None
    types = look_up(data, ("spec", "policyTypes"))
    return Policy(data) if types is None or "Ingress" in as_sequence(types) else None
