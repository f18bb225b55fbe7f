"""What a scrape says, parsed when it is asked for: tests want a few of thousands of samples."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from prometheus_client.parser import text_string_to_metric_families

if TYPE_CHECKING:
    from collections.abc import Iterable

Labels = frozenset[tuple[str, str]]


class Samples:
    """One scrape of `/metrics`.

    Args:
        text: in Prometheus' text format.
    """

    def __init__(self, text: str) -> None:
        self._lines = text.splitlines()
        self._of: dict[str, dict[Labels, float]] = {}

    @cached_property
    def values(self) -> dict[tuple[str, Labels], float]:
        """All samples."""
        return _parse(self._lines)

    def of(self, name: str) -> dict[Labels, float]:
        """Return the samples of one name by their labels."""
        if name not in self._of:
            lines = (line for line in self._lines if line.startswith((f"{name}{{", f"{name} ")))
            self._of[name] = {labels: value for (_, labels), value in _parse(lines).items()}
        return self._of[name]

    def total(self, name: str, **labels: str) -> float:
        """Return the sum of a metric's samples that have these labels."""
        wanted = set(labels.items())
        return sum(value for have, value in self.of(name).items() if wanted <= have)

    def verdicts(self, **labels: str) -> dict[tuple[str, str], int]:
        """Return how many requests got which verdict for which cause."""
        found: dict[tuple[str, str], int] = {}
        for have, value in self.of("goodput_requests_total").items():
            if value and set(labels.items()) <= have:
                of = dict(have)
                key = (of["verdict"], of["cause"])
                found[key] = found.get(key, 0) + int(value)
        return found


def _parse(lines: Iterable[str]) -> dict[tuple[str, Labels], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families("\n".join(lines) + "\n")
        for sample in family.samples
    }
