"""The proxy's own counts, read from `/metrics` as Prometheus would.

Owns the three metrics that the demonstration shows; everything it knows of the proxy is their
names. The rule: verdicts are read, never computed, so that what the terminal shows is what the
proxy measured.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from prometheus_client.parser import text_string_to_metric_families

if TYPE_CHECKING:
    import aiohttp


@dataclass(frozen=True, slots=True)
class Verdicts:
    """Requests by verdict and cause, as counted since the proxy's start or between two scrapes."""

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    client_cancels: int = 0
    in_flight: int = 0

    @property
    def good(self) -> int:
        """Requests that met every limit which could be computed."""
        return self._of("good") + self._of("good_partial")

    @property
    def slow(self) -> int:
        """Requests that were answered in full, but not in time.

        The verdict `slow` also holds clients who left after a limit had been missed; they are
        those cancels that the verdict `cancelled` does not hold.
        """
        return self._of("slow") - (self.client_cancels - self._of("cancelled"))

    @property
    def failed(self) -> int:
        """Requests that got no proper answer, whoever was at fault."""
        return self._of("error") + self._of("client_error")

    @property
    def completed(self) -> int:
        """Requests that were answered in full."""
        return self.good + self.slow

    @property
    def ratio(self) -> float | None:
        """The goodput ratio: good of all that the server answers for. None without requests."""
        judged = self.good + self._of("slow") + self._of("error")
        return self.good / judged if judged else None

    @property
    def causes(self) -> dict[str, int]:
        """Why requests were not good, the most frequent first: `{"slow:ttft": 12}`."""
        return {
            f"{verdict}:{cause}": count
            for (verdict, cause), count in self.counts.most_common()
            if count and cause
        }

    def since(self, earlier: Verdicts) -> Verdicts:
        """Return what was counted after an earlier scrape."""
        return Verdicts(
            self.counts - earlier.counts,
            self.client_cancels - earlier.client_cancels,
            self.in_flight,
        )

    def _of(self, wanted: str) -> int:
        return sum(count for (verdict, _), count in self.counts.items() if verdict == wanted)


def parse(exposition: str) -> Verdicts:
    """Read the verdict counters out of Prometheus' text format."""
    counts: Counter[tuple[str, str]] = Counter()
    client_cancels = in_flight = 0
    for family in text_string_to_metric_families(exposition):
        for sample in family.samples:
            value = int(sample.value)
            if sample.name == "goodput_requests_total":
                counts[sample.labels["verdict"], sample.labels["cause"]] += value
            elif sample.name == "goodput_client_cancels_total":
                client_cancels += value
            elif sample.name == "goodput_requests_in_flight":
                in_flight += value
    return Verdicts(counts, client_cancels, in_flight)


async def scrape(client: aiohttp.ClientSession, admin_url: str) -> Verdicts:
    """Fetch `/metrics` and read the verdict counters."""
    async with client.get(f"{admin_url}/metrics") as response:
        response.raise_for_status()
        return parse(await response.text())
