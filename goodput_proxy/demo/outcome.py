"""What a run of the demonstration amounts to: one sample per interval, and the totals.

Pure arithmetic over the proxy's verdicts and the clients' records; it draws nothing and asks
nobody. The rule: goodput and throughput are the proxy's, latencies are the clients', and the two
meet only where one is checked against the other.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .knee import Band, find_knee
from .records import CUT

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

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
    stall: Spread | None = None

    @classmethod
    def of(
        cls,
        at_s: float,
        seconds: float,
        users: int,
        verdicts: Verdicts,
        records: Sequence[ClientRecord],
    ) -> Sample:
        """Return what the proxy and the clients say of one stretch of time."""
        return cls(
            at_s=at_s,
            seconds=seconds,
            users=users,
            verdicts=verdicts,
            ttft=Spread.of(record.ttft_ns for record in records),
            itl=Spread.of(record.itl_ns for record in records),
            stall=Spread.of(record.stall_ns for record in records),
        )

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
class Density:
    """Tokens and records of the mean answer, and the ITL that would follow from either."""

    tokens: float
    records: float
    itl_ns: float
    itl_by_records_ns: float

    @classmethod
    def of(cls, records: Sequence[ClientRecord]) -> Density | None:
        """Return what answers were like, None unless records hold several tokens."""
        ok = [record for record in records if record.ok and record.itl_ns is not None]
        tokens = sum(record.output_tokens for record in ok)
        contents = sum(record.content_records for record in ok)
        if tokens <= contents:
            return None
        times_ns = sum((record.e2e_ns or 0) - (record.ttft_ns or 0) for record in ok)
        count = len(ok)
        return cls(
            tokens / count,
            contents / count,
            times_ns / (tokens - count),
            times_ns / max(1, contents - count),
        )


@dataclass(frozen=True, slots=True)
class Totals:
    """All requests of a run: as the proxy counted them, and the clients' for comparison."""

    records: Sequence[ClientRecord]
    verdicts: Verdicts
    recount: Recount
    near_limit: int
    clock_error_ns: int
    faults: Mapping[str, int] = field(default_factory=dict)
    """How often the server failed on purpose, by the cause that the proxy is to find."""

    @property
    def answers(self) -> Sequence[ClientRecord]:
        """The requests whose clients waited for the end."""
        return [record for record in self.records if record.error != CUT]

    @property
    def http_200(self) -> int:
        """How many of the answers had a 200 at their head."""
        return sum(record.status == 200 for record in self.answers)

    @property
    def density(self) -> Density | None:
        """What answers were like where records hold several tokens."""
        return Density.of(self.records)

    @property
    def errors(self) -> Mapping[str, int]:
        """How many errors the proxy found, by cause, of those that the server made on purpose."""
        counts = self.verdicts.counts
        return {cause: counts["error", cause] for cause in self.faults}

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


@dataclass(frozen=True, slots=True)
class Outcome:
    """A finished run: its course and its totals.

    Args:
        samples: one per interval.
        totals: of everything, from the start to the last answer.
        settled: everything from the end of the warm-up to the last sample.
    """

    samples: Sequence[Sample]
    totals: Totals
    settled: Sample | None = None

    @property
    def throughput(self) -> Course:
        """The course of throughput, as the proxy measured it."""
        return self._course([sample.verdicts.completed for sample in self.samples])

    @property
    def goodput(self) -> Course:
        """The course of goodput, as the proxy measured it."""
        return self._course([sample.verdicts.good for sample in self.samples])

    def _course(self, counts: Sequence[int]) -> Course:
        size = max(1, round(len(counts) * WINDOW_FRACTION))
        rates = [
            sum(counts[end - size : end])
            / sum(sample.seconds for sample in self.samples[end - size : end])
            for end in range(size, len(counts) + 1)
        ]
        return Course(max(rates), rates[-1]) if rates else Course(0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Climb:
    """A finished sweep: one sample per level, and what the proxy found by itself.

    Args:
        levels: each with twice as many users as the one before.
        totals: of everything, warm-ups included.
        bands: of the proxy's metric of requests by load.
    """

    levels: Sequence[Sample]
    totals: Totals
    bands: Sequence[Band]

    @property
    def knee(self) -> int:
        """The largest level that keeps the objective, 0 if none does."""
        return find_knee(
            Band(level.users, level.verdicts.judged, level.verdicts.good) for level in self.levels
        )

    @property
    def proxys_knee(self) -> int:
        """The largest band that does."""
        return find_knee(self.bands)
