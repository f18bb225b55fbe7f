"""What an hour of traffic leaves in the memory of a running proxy whose page is open."""

from __future__ import annotations

import sys
from typing import Any

import aiohttp
import pytest

from tests.live.child import child

REQUESTS = 100_000
LIMIT_BYTES = 5 * 1024 * 1024
DOCUMENTS = ("/", "/api/v1/summary", "/api/v1/requests", "/metrics")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="resident memory is /proc's")
async def test_an_hour_and_100_000_requests_leave_the_process_within_5_mb() -> None:
    """All of it: history, metrics and documents; the page forgets after its 15 minutes."""
    async with (
        child("tests.live.hour") as (url, ask),
        aiohttp.ClientSession() as client,
        client.get(url + "/api/v1/stream") as stream,
    ):

        async def look() -> list[bytes]:
            await stream.content.readuntil(b"\n\n")
            found = []
            for path in DOCUMENTS:
                async with client.get(url + path) as response:
                    found.append(await response.read())
            return found

        await look()
        await look()
        before = await ask("0")
        after = await ask(str(REQUESTS))
        await look()
        later = await ask("0")
        async with client.get(url + "/api/v1/summary") as response:
            summary: dict[str, Any] = await response.json()

    in_window = sum(each["window"] for each in summary["verdicts"])
    assert summary["requests"] == REQUESTS
    # A quarter of the hour, within half a minute and the time that this test takes.
    assert in_window == pytest.approx(REQUESTS / 4, rel=0.1)
    assert after["rss_bytes"] - before["rss_bytes"] < LIMIT_BYTES
    assert later["rss_bytes"] - before["rss_bytes"] < LIMIT_BYTES
