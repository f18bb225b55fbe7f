"""What `/api/v1/` says while requests come, held to `/metrics` around the same moments.

Nothing stands still meanwhile, so that equality is asked of moments: what a document says must lie
between the scrape before it and the scrape after it, verdict by verdict. A message of the stream
says when it was made, by the same clock.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from time import time
from typing import TYPE_CHECKING, Any

import aiohttp

from goodput_proxy.demo.verdicts import fetch_verdicts
from tests.waiting import eventually, eventually_async

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Counts = Counter[tuple[str, str]]
# Between two looks: many within a second, and little beside what the tools do.
PAUSE_S = 0.05


@dataclass(frozen=True, slots=True)
class Scrape:
    """One reading of `/metrics`: when it was asked for, when it was there, and what it says."""

    begin_s: float
    end_s: float
    counts: Counts


@dataclass
class Watch:
    """Everything that was seen, for as long as something ran."""

    scrapes: list[Scrape] = field(default_factory=list)
    messages: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    requests: dict[str, Any] = field(default_factory=dict)
    looks_growing: int = 0  # during which a request was counted
    problems: list[str] = field(default_factory=list)

    @property
    def counts(self) -> Counts:
        """What `/metrics` said at the end."""
        return self.scrapes[-1].counts

    def compare(self, name: str, before: Counts, told: Counts, after: Counts) -> None:
        """Note a document that says more or less than can be."""
        if not before <= told <= after:
            self.problems.append(f"{name}: {before} <= {told} <= {after}")

    def compare_messages(self) -> None:
        """Hold each message of the stream to the scrapes before and after it."""
        for message in self.messages:
            made_s = message["unix_s"]
            earlier = [s.counts for s in self.scrapes if s.end_s < made_s]
            later = [s.counts for s in self.scrapes if s.begin_s > made_s]
            told = counts_of_summary(message)
            self.compare("stream", (earlier or [Counts()])[-1], told, (later or [told])[0])


def counts_of_summary(document: Mapping[str, Any]) -> Counts:
    """Return the requests of a summary by verdict and cause."""
    return Counts({(each["verdict"], each["cause"]): each["ever"] for each in document["verdicts"]})


def counts_of_requests(listed: Iterable[Mapping[str, Any]]) -> Counts:
    """Return listed requests by verdict and cause."""
    return Counts((each["verdict"], each["cause"]) for each in listed)


async def watch(admin_url: str, running: asyncio.Task[Any]) -> Watch:
    """Look at everything until a task is done and all it sent is judged; then at the end.

    The list of requests is compared as long as it holds all of them.
    """
    seen = Watch()
    async with aiohttp.ClientSession() as client:

        async def get(path: str) -> dict[str, Any]:
            async with client.get(admin_url + path) as response:
                document: dict[str, Any] = await response.json()
                return document

        async def scrape() -> Scrape:
            begin_s = time()
            verdicts = await fetch_verdicts(client, admin_url)
            seen.scrapes.append(Scrape(begin_s, time(), +verdicts.counts))
            return seen.scrapes[-1]

        async def look() -> None:
            before = await scrape()
            summary, requests = await get("/api/v1/summary"), await get("/api/v1/requests")
            after = await scrape()
            told, listed = counts_of_summary(summary), counts_of_requests(requests["latest"])
            seen.compare("summary", before.counts, told, after.counts)
            seen.compare("requests", before.counts, listed, after.counts)
            seen.summary, seen.requests = summary, requests
            seen.looks_growing += before.counts != after.counts

        async def idle() -> bool:
            return not (await fetch_verdicts(client, admin_url)).in_flight

        stream = asyncio.create_task(_read_stream(client, admin_url, seen.messages))
        try:
            while not running.done():
                await look()
                await asyncio.sleep(PAUSE_S)
            await eventually_async(idle, "nothing under way")
            await look()
            # One may have been under way, the second has been made since.
            heard = len(seen.messages)
            await eventually(lambda: len(seen.messages) >= heard + 2, "two updates")
            seen.summary = await get("/api/v1/summary")
        finally:
            stream.cancel()
            with suppress(asyncio.CancelledError):
                await stream
    seen.compare_messages()
    return seen


async def _read_stream(
    client: aiohttp.ClientSession, admin_url: str, messages: list[dict[str, Any]]
) -> None:
    limits = aiohttp.ClientTimeout(total=None)
    async with client.get(f"{admin_url}/api/v1/stream", timeout=limits) as response:
        while True:  # cancelled in the end
            event = (await response.content.readuntil(b"\n\n")).decode()
            lines = (line for line in event.splitlines() if line.startswith("data: "))
            messages.extend(json.loads(line.removeprefix("data: ")) for line in lines)
