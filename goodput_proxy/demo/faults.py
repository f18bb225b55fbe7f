"""How a simulated server fails: in which ways, and how often.

Pure: the caller brings the randomness. The rule: a fault's value is the cause under which the proxy
is to count it, so that what was done and what was counted can be laid side by side.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random


class Fault(StrEnum):
    """One way to let a request down."""

    INTERNAL = "http_5xx"  # refused: something broke before the first token
    REFUSED = "http_429"  # refused: too many requests
    TRUNCATED = "truncated"  # the connection closes in the middle of a stream
    STREAM_ERROR = "stream_error"  # an error record inside a 200

    @property
    def refuses(self) -> bool:
        """Whether nothing is generated at all."""
        return self in (Fault.INTERNAL, Fault.REFUSED)


@dataclass(frozen=True, slots=True)
class Faults:
    """What share of all requests meets which fault; the rest is served."""

    internal: float = 0.0
    refused: float = 0.0
    truncated: float = 0.0
    stream_error: float = 0.0

    def draw(self, choices: random.Random) -> Fault | None:
        """Return what the next request meets."""
        shares = (self.internal, self.refused, self.truncated, self.stream_error)
        outcomes: tuple[Fault | None, ...] = (*Fault, None)
        return choices.choices(outcomes, (*shares, 1 - sum(shares)))[0]
