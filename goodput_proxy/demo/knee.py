"""The knee: the largest load under which the promise is kept, and where it is read from.

Pure, but for the fetch. Owns the one rule by which the levels of a sweep and the bands of the
proxy's own metric are judged, so that the two can be held against each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING

from goodput_proxy.scrape import scrape

if TYPE_CHECKING:
    from collections.abc import Iterable

    import aiohttp
    from prometheus_client.samples import Sample

OBJECTIVE = 0.95
"""The share of requests that is to be good, as it is where nobody sets another."""

# Of fewer requests a single one would decide.
FEWEST_REQUESTS = 5


@dataclass(frozen=True, slots=True)
class Band:
    """Requests that came when more than half of `in_flight` and at most so many were there."""

    in_flight: int
    requests: int
    good: int

    @property
    def ratio(self) -> float:
        """The share of them that were good."""
        return self.good / self.requests


def find_knee(bands: Iterable[Band]) -> int:
    """Return the largest load that, like every smaller one, keeps the objective; 0 if none does."""
    told = (band for band in bands if band.requests >= FEWEST_REQUESTS)
    kept = [0, *(band.in_flight for band in takewhile(lambda band: band.ratio >= OBJECTIVE, told))]
    return kept[-1]


def read_bands(samples: Iterable[Sample]) -> list[Band]:
    """Return the bands that have requests, the lowest first, over all models and classes."""
    counts: dict[int, list[int]] = {}
    for sample in samples:
        if sample.name == "goodput_load_requests_total" and sample.value:
            band = counts.setdefault(int(sample.labels["in_flight"]), [0, 0])
            band[0] += int(sample.value)
            band[1] += int(sample.value) if sample.labels["compliant"] == "true" else 0
    return [Band(end, *counts[end]) for end in sorted(counts)]


async def fetch_bands(client: aiohttp.ClientSession, admin_url: str) -> list[Band]:
    """Return what a running proxy has found so far."""
    return read_bands(await scrape(client, admin_url))
