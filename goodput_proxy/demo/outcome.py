"""What a run of the demonstration amounts to: one sample per interval, and the totals.

Pure arithmetic over the proxy's verdicts and the clients' records; it draws nothing and asks
nobody. The rule: goodput and throughput are the proxy's, latencies are the clients', and the two
meet only where one is checked against the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .records import CUT

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .records import ClientRecord, Recount
    from .verdicts import Verdicts

# Peaks and final rates are averages over a third of the run: long enough for some hundred answers,
# so that neither is a matter of luck.
WINDOW_FRACTION = 1 / 3


@dataclass(frozen=True, slots=True)
class Spread:
    """Median and 95th percentile of a duration."""

    p50_ns: float
    p95_ns: float

    @classmethod
    def of(cls, durations_ns: Iterable[float | None]) -> Spread | None:
        """Return the percentiles (nearest rank) of what was measured, None if nothing was."""
        known = sorted(duration for duration in durations_ns if duration is not None)
        if not known:
            return None
        return cls(known[(len(known) - 1) // 2], known[(len(known) - 1) * 95 // 100])


@dataclass(frozen=True, slots=True)
class Sample:
    """One interval of the run."""

    at_s: float
    seconds: float
    users: int
    verdicts: Verdicts
    ttft: Spread | None
    itl: Spread | None

    @property
    def throughput_rps(self) -> float:
        """Requests per second that were answered in full."""
        return self.verdicts.completed / self.seconds

    @property
    def goodput_rps(self) -> float:
        """Requests per second that met their limits."""
        return self.verdicts.good / self.seconds


@dataclass(frozen=True, slots=True)
class Course:
    """How a rate went: its best window and its last one."""

    peak_rps: float
    final_rps: float

    @property
    def kept(self) -> float:
        """What is left of the peak at the end, as a fraction."""
        return self.final_rps / self.peak_rps if self.peak_rps else 0.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """A finished run: its course, the proxy's totals, and the clients' for comparison."""

    samples: Sequence[Sample]
    records: Sequence[ClientRecord]
    verdicts: Verdicts
    recount: Recount
    near_limit: int
    clock_error_ns: int

    @property
    def throughput(self) -> Course:
        """The course of throughput, as the proxy measured it."""
        return self._course([sample.verdicts.completed for sample in self.samples])

    @property
    def goodput(self) -> Course:
        """The course of goodput, as the proxy measured it."""
        return self._course([sample.verdicts.good for sample in self.samples])

    @property
    def disagreement(self) -> int:
        """On how many requests proxy and clients differ."""
        ours, theirs = self.verdicts, self.recount
        return max(
            abs(ours.good - theirs.good),
            abs(ours.slow - theirs.slow),
            abs(ours.failed - theirs.failed),
        )

    @property
    def cut(self) -> int:
        """How many requests their own clients gave up when the run was stopped."""
        return sum(record.error == CUT for record in self.records)

    @property
    def explained(self) -> bool:
        """Whether requests on which the two may differ can account for the disagreement.

        These are requests near a limit, and requests that were cut: an answer may have passed
        the proxy whole, and not yet have been read, when its client gave up.
        """
        return self.disagreement <= self.near_limit + self.cut

    def _course(self, counts: Sequence[int]) -> Course:
        size = max(1, round(len(counts) * WINDOW_FRACTION))
        rates = [
            sum(counts[end - size : end])
            / sum(sample.seconds for sample in self.samples[end - size : end])
            for end in range(size, len(counts) + 1)
        ]
        return Course(max(rates), rates[-1]) if rates else Course(0.0, 0.0)
