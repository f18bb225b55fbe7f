"""The proxy's own counts, as far as the demonstration shows them.

Owns the metrics that they are read from; everything it knows of the proxy is their names.
The rule: verdicts are read, never computed, so that what the terminal shows is what the proxy
measured.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from goodput_proxy.scrape import scrape

if TYPE_CHECKING:
    from collections.abc import Iterable

    import aiohttp
    from prometheus_client.samples import Sample


@dataclass(frozen=True, slots=True)
class Verdicts:
    """Requests by verdict and cause, as counted since the proxy's start or between two scrapes."""

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    client_cancels: int = 0
    in_flight: int = 0
    output_tokens: int = 0
    token_sources: Counter[str] = field(default_factory=Counter)
    """Requests by where their number of output tokens came from."""

    @classmethod
    def of(cls, samples: Iterable[Sample]) -> Self:
        """Add up the samples of a scrape over all APIs, models and classes."""
        counts: Counter[tuple[str, str]] = Counter()
        client_cancels = in_flight = output_tokens = 0
        token_sources: Counter[str] = Counter()
        for sample in samples:
            value = int(sample.value)
            if sample.name == "goodput_requests_total":
                counts[sample.labels["verdict"], sample.labels["cause"]] += value
            elif sample.name == "goodput_client_cancels_total":
                client_cancels += value
            elif sample.name == "goodput_requests_in_flight":
                in_flight += value
            elif sample.name == "goodput_output_tokens_total":
                output_tokens += value
            elif sample.name == "goodput_token_count_source_total" and value:
                token_sources[sample.labels["source"]] += value
        return cls(counts, client_cancels, in_flight, output_tokens, token_sources)

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
        return self.good / self.judged if self.judged else None

    @property
    def judged(self) -> int:
        """Requests that the server answers for."""
        return self.good + self._of("slow") + self._of("error")

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
            self.output_tokens - earlier.output_tokens,
            self.token_sources - earlier.token_sources,
        )

    def _of(self, wanted: str) -> int:
        return sum(count for (verdict, _), count in self.counts.items() if verdict == wanted)


async def fetch_verdicts(client: aiohttp.ClientSession, admin_url: str) -> Verdicts:
    """Return what a running proxy has counted so far."""
    return Verdicts.of(await scrape(client, admin_url))
