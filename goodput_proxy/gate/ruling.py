"""Whether what was observed is good enough.

A class is judged by its own objective, or by the one minimum that was asked for, once enough of
its requests were judged. The whole is below if any class is; it cannot be judged if no class can.
So a class that nobody uses, or that saw a stray request, does not stop a pipeline; whoever needs
one class to be judged names it with `--match slo=...`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING

from goodput_proxy.settings import ConfigError

from .counts import Counts, Observation

if TYPE_CHECKING:
    from collections.abc import Sequence

# Prometheus' extrapolation multiplies both sides of a ratio by one factor, which leaves an error in
# the last bits: 19 of 20 requests must not fail an objective of 0.95.
_ROUNDING = 1e-9


class ExitCode(IntEnum):
    """What the command says to a pipeline; 2 is that of an unusable command line or address."""

    OK = 0
    BELOW = 1
    TOO_FEW = 3


class Status(StrEnum):
    """The ruling on one class."""

    OK = "ok"
    BELOW = "below"
    TOO_FEW = "too_few"


@dataclass(frozen=True, slots=True)
class Row:
    """One class with what was asked of it; `minimum` is None where nobody has promised anything."""

    slo: str
    counts: Counts
    minimum: float | None
    status: Status


@dataclass(frozen=True, slots=True)
class Ruling:
    """The rulings on all classes, and all requests together."""

    rows: Sequence[Row]
    total: Counts

    @property
    def exit_code(self) -> ExitCode:
        """The ruling on the whole."""
        found = {row.status for row in self.rows}
        if Status.BELOW in found:
            return ExitCode.BELOW
        return ExitCode.OK if Status.OK in found else ExitCode.TOO_FEW


def rule(observation: Observation, minimum: float | None, min_requests: int) -> Ruling:
    """Judge each class.

    Args:
        observation: the window.
        minimum: of every class; None for each class's own objective.
        min_requests: fewest judged requests that a ruling is built on.

    Raises:
        ConfigError: when nothing says what a class has to reach.
    """
    rows = []
    for slo, counts in sorted(observation.classes.items()):
        wanted = observation.objectives.get(slo) if minimum is None else minimum
        if counts.ratio is None or counts.judged + _ROUNDING < min_requests:
            status = Status.TOO_FEW
        elif wanted is None:
            raise ConfigError([f"min: {observation.source} knows no objective of class {slo!r}"])
        else:
            status = Status.BELOW if counts.ratio + _ROUNDING < wanted else Status.OK
        rows.append(Row(slo, counts, wanted, status))
    return Ruling(rows, Counts.sum(observation.classes.values()))
