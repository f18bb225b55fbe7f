"""Which workloads of an input are meant, beside those that ask by their annotation."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .tree import as_mapping, look_up

if TYPE_CHECKING:
    from .pods import Workload


@dataclass(frozen=True, slots=True)
class Selection:
    """What the flags say; all that are given must fit.

    Args:
        everything: every workload.
        labels: labels that the pods or the object must have.
        kind: the object's kind, in any case.
        name: the object's name.
    """

    everything: bool = False
    labels: dict[str, str] = field(default_factory=dict)
    kind: str | None = None
    name: str | None = None

    @property
    def empty(self) -> bool:
        """Whether the flags say nothing."""
        return not (self.everything or self.labels or self.kind or self.name)

    def takes(self, workload: Workload) -> bool:
        """Return whether the flags mean a workload."""
        own = as_mapping(look_up(workload.data, ("metadata", "labels")))
        labels = own | workload.pod_labels
        return (
            not self.empty
            and all(labels.get(key) == value for key, value in self.labels.items())
            and (self.kind is None or self.kind.lower() == workload.kind.lower())
            and (self.name is None or self.name == workload.name)
        )

    def means(self, workload: Workload) -> bool:
        """Return whether a workload gets the sidecar; its annotation is stronger than flags.

        What another object owns gets it from there, if at all: a ReplicaSet from its Deployment.

        Raises:
            Refusal: when the annotation says neither yes nor no.
        """
        asks = workload.asks
        wished = self.takes(workload) if asks is None else asks
        return wished and not workload.owned
