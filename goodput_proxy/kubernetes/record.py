"""What was added to a pod template, written down on the template itself.

The record is one annotation in JSON, so that it survives the cluster and every tool that drops
comments. It names what cannot be seen any more once the sidecar is there: which lists and maps
were made for it, and how an empty one was spelled.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from . import names
from .tree import Refusal, as_mapping

if TYPE_CHECKING:
    from .pods import Workload


@dataclass(slots=True)
class Record:
    """The record of one template.

    Args:
        version: the version that added the sidecar.
        container: the sidecar's name.
        created: which of metadata, labels, annotations, initContainers, containers and volumes
            were not there.
        was: how those that were there, but null, were spelled.
        annotations: what was added beside the record.
    """

    version: str
    container: str
    created: list[str] = field(default_factory=list)
    was: dict[str, str] = field(default_factory=dict)
    annotations: list[str] = field(default_factory=list)

    def write(self) -> str:
        """Return the record as the annotation's value."""
        known = {"version": self.version, "container": self.container}
        more = {"created": self.created, "was": self.was, "annotations": self.annotations}
        return json.dumps(
            known | {key: value for key, value in more.items() if value}, separators=(",", ":")
        )

    @classmethod
    def read(cls, workload: Workload) -> Record:
        """Return the record of a workload that has one.

        Raises:
            Refusal: when it has been edited into something else.
        """
        try:
            found = as_mapping(json.loads(workload.annotations[names.RECORD]))
            record = cls(**found)
        except (TypeError, ValueError):
            record = cls("", "")
        texts = [record.version, record.container]
        lists = [record.created, record.annotations]
        sound = all(isinstance(text, str) and text for text in texts) and all(
            isinstance(entry, list) for entry in lists
        )
        if not sound or not isinstance(record.was, dict):
            raise Refusal(
                f"annotation {names.RECORD}: is not what was written there; take the sidecar and"
                " the annotation out by hand"
            )
        return record
