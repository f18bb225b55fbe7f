"""What a window has shown: requests by verdict, class by class.

Pure arithmetic. The numbers are those of the documentation's PromQL: goodput counts good and
good_partial, throughput adds slow, the ratio's denominator adds error. They are floats because
Prometheus extrapolates.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


@dataclass(frozen=True, slots=True)
class Counts:
    """Requests by verdict and cause."""

    by_cause: Mapping[tuple[str, str], float] = field(default_factory=dict)

    @classmethod
    def sum(cls, many: Iterable[Counts]) -> Counts:
        """Return the counts of all of them together."""
        total: dict[tuple[str, str], float] = {}
        for each in many:
            for key, count in each.by_cause.items():
                total[key] = total.get(key, 0.0) + count
        return cls(total)

    def of(self, verdict: str) -> float:
        """Return the requests that got this verdict."""
        return sum(count for (found, _), count in self.by_cause.items() if found == verdict)

    @property
    def good(self) -> float:
        """Requests that met every limit which could be computed."""
        return self.of("good") + self.of("good_partial")

    @property
    def answered(self) -> float:
        """Requests that were answered to their end: the throughput."""
        return self.good + self.of("slow")

    @property
    def judged(self) -> float:
        """Requests that the server answers for: the ratio's denominator."""
        return self.answered + self.of("error")

    @property
    def ratio(self) -> float | None:
        """The goodput ratio, None without a judged request."""
        return self.good / self.judged if self.judged else None

    @property
    def causes(self) -> dict[str, float]:
        """Why judged requests were not good, the most frequent first: `{"slow:ttft": 12.0}`."""
        bad = [item for item in self.by_cause.items() if item[0][0] in {"slow", "error"}]
        bad.sort(key=lambda item: -item[1])
        return {f"{verdict}:{cause}": count for (verdict, cause), count in bad if count}


@dataclass(frozen=True, slots=True)
class Observation:
    """One window, as its source has shown it.

    Args:
        source: where it was looked at, for people.
        window_s: how long it was.
        classes: what was counted, by SLO class.
        objectives: the ratio that each class promises, as far as the source knows it.
        note: what a reader has to know to understand the numbers, if anything.
    """

    source: str
    window_s: float
    classes: Mapping[str, Counts]
    objectives: Mapping[str, float]
    note: str = ""
