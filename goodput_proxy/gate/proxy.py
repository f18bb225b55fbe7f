"""A window between two scrapes of one running proxy.

The rule: a counter that starts again is counted as Prometheus does it, from zero. What the former
process counted after the first scrape is lost, so that the rates are too low then, and the ratio
is that of the new process alone; the observation says so.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from goodput_proxy.scrape import ScrapeError, public, scrape
from goodput_proxy.settings import ConfigError

from .counts import Counts, Observation

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    import aiohttp
    from prometheus_client.samples import Sample
    from yarl import URL

    Labels = frozenset[tuple[str, str]]

RESTARTED = "the proxy has restarted: only what it has counted since then is known"

_REQUESTS = "goodput_requests_total"
_OBJECTIVE = "goodput_slo_objective_ratio"
# Not there on every platform; a counter that has fallen tells the same.
_START = "process_start_time_seconds"


async def observe_proxy(
    client: aiohttp.ClientSession,
    url: URL,
    window_s: float,
    match: Mapping[str, str],
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
) -> Observation:
    """Scrape, let the time pass, scrape again, and return the difference.

    Raises:
        ConfigError: when there is no proxy at the address, or nothing that matches.
    """
    before = await _fetch(client, url)
    before_s = time.monotonic()
    _check_labels(before, url, match)
    await sleep(window_s)
    after = await _fetch(client, url)
    seconds = time.monotonic() - before_s
    counted = difference(before, after, match)
    if not counted:
        wanted = ", ".join(f"{name}={value}" for name, value in match.items())
        raise ConfigError([f"match: {public(url)} has counted nothing with {wanted}"])
    return Observation(
        source=public(url),
        window_s=seconds,
        classes=counted,
        objectives={s.labels["slo"]: s.value for s in after if s.name == _OBJECTIVE},
        note=RESTARTED if has_restarted(before, after) else "",
    )


def difference(
    before: Sequence[Sample], after: Sequence[Sample], match: Mapping[str, str]
) -> dict[str, Counts]:
    """Return what was counted between two scrapes, by class."""
    wanted = set(match.items())
    earlier = {} if has_restarted(before, after) else _requests(before)
    classes: dict[str, dict[tuple[str, str], float]] = {}
    for labels, value in _requests(after).items():
        if wanted <= labels:
            of = dict(labels)
            counts = classes.setdefault(of["slo"], {})
            key = (of["verdict"], of["cause"])
            counts[key] = counts.get(key, 0.0) + value - earlier.get(labels, 0.0)
    return {slo: Counts(counts) for slo, counts in classes.items()}


def has_restarted(before: Sequence[Sample], after: Sequence[Sample]) -> bool:
    """Return whether another process was scraped the second time."""
    starts = [{s.value for s in samples if s.name == _START} for samples in (before, after)]
    if starts[0] != starts[1]:
        return True
    later = _requests(after)
    # A series that is gone has fallen, too.
    return any(later.get(labels, 0.0) < value for labels, value in _requests(before).items())


async def _fetch(client: aiohttp.ClientSession, url: URL) -> Sequence[Sample]:
    try:
        samples = await scrape(client, str(url))
    except ScrapeError as error:
        raise ConfigError([f"proxy: {error}"]) from None
    if not _requests(samples):
        raise ConfigError(
            [f"proxy: {public(url)} has no {_REQUESTS}: is it a proxy's admin address?"]
        )
    return samples


def _check_labels(samples: Sequence[Sample], url: URL, match: Mapping[str, str]) -> None:
    known = {name for labels in _requests(samples) for name, _ in labels}
    for name in match.keys() - known:
        raise ConfigError([f"match: {_REQUESTS} at {public(url)} has no label {name!r}"])


def _requests(samples: Sequence[Sample]) -> dict[Labels, float]:
    return {frozenset(s.labels.items()): s.value for s in samples if s.name == _REQUESTS}
