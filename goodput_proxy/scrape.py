"""A proxy's own counts, read from `/metrics` as Prometheus would.

For those who look at a running proxy from outside. Owns the fetch and what can go wrong with it;
what a metric means is its reader's business.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import aiohttp
from prometheus_client.parser import text_string_to_metric_families
from yarl import URL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from prometheus_client.samples import Sample

# As long as Prometheus itself waits for a scrape.
SCRAPE_TIMEOUT_S = 10.0


class ScrapeError(Exception):
    """The counts could not be had; the message says in one line from where and why."""


def parse(exposition: str) -> Sequence[Sample]:
    """Return every sample of Prometheus' text format.

    Raises:
        ValueError: when the text is of another format.
    """
    families = text_string_to_metric_families(exposition)
    return [sample for family in families for sample in family.samples]


async def scrape(client: aiohttp.ClientSession, admin_url: str) -> Sequence[Sample]:
    """Fetch the samples of `/metrics`.

    Raises:
        ScrapeError: when nobody answers there, or somebody else does.
    """
    url = URL(admin_url) / "metrics"
    timeout = aiohttp.ClientTimeout(total=SCRAPE_TIMEOUT_S)
    try:
        async with client.get(url, timeout=timeout) as response:
            if response.status != 200:
                raise ScrapeError(f"{public(url)} answers with HTTP {response.status}")
            return parse(await response.text())
    except (aiohttp.ClientError, OSError) as error:  # a timeout is an OSError
        raise ScrapeError(f"{public(url)} cannot be read: {reason_of(error)}") from None
    except ValueError:
        raise ScrapeError(f"{public(url)} is not Prometheus' text format") from None


def public(url: URL) -> str:
    """Return a URL as it may be printed: without a password."""
    return str(url.with_user(None)).rstrip("/")


def reason_of(error: Exception) -> str:
    """Say in a few words why an HTTP exchange came to nothing."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, aiohttp.ClientConnectorError):
        cause = error.os_error
        # asyncio puts words of its own into `strerror`; those of a resolver have no number.
        number = cause.errno or 0
        return (os.strerror(number) if number > 0 else cause.strerror or str(cause)).lower()
    return " ".join(str(error).split()) or type(error).__name__
