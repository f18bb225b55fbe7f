"""The knee: the load at which the promise breaks, read off traffic that nobody planned."""

from __future__ import annotations

import asyncio

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from goodput_proxy.app import App
from goodput_proxy.demo.engine import Profile
from goodput_proxy.demo.load import Load, Workload
from goodput_proxy.demo.server import SimulatedServer
from goodput_proxy.settings import Settings

MS = 1_000_000
BATCH = 8
# Steps of 25 ms and answers of 20 tokens: a queue costs a newcomer half a second at least, and a
# free slot two steps at most. The limit lies between.
PROFILE = Profile(max_batch=BATCH, step_base_ns=15 * MS, step_per_sequence_ns=MS)
LIMIT = "250ms"


async def test_the_ratio_falls_past_the_batch_limit() -> None:
    """Arrivals within the server's batch are good; those behind a full one and a queue are not."""
    server = SimulatedServer(PROFILE, seed=3)
    upstream = await server.start()
    app = App(
        Settings.model_validate(
            {
                "upstream": upstream,
                "listen": "127.0.0.1:0",
                "admin_listen": "127.0.0.1:0",
                "slo": {"ttft": LIMIT, "itl": "none"},
            }
        )
    )
    await app.start()
    try:
        workload = Workload("m", prompt_tokens=(10, 20), output_tokens=(20, 20))
        async with Load(app.proxy_url, workload) as load:
            for users in (2, BATCH, 4 * BATCH):
                load.resize(users)
                await asyncio.sleep(2.0)
            await load.drain()
        bands = await read_bands(app.admin_url)
    finally:
        await app.stop()
        await server.stop()

    within = [ratio for band, ratio in bands.items() if band <= BATCH]
    beyond = [ratio for band, ratio in bands.items() if band > 2 * BATCH]
    assert len(within) >= 2
    assert min(within) >= 0.95, bands
    assert beyond
    assert max(beyond) < 0.2, bands


async def read_bands(admin_url: str) -> dict[int, float]:
    """Return the goodput ratio by the upper end of each band that has requests."""
    async with (
        aiohttp.ClientSession() as client,
        client.get(f"{admin_url}/metrics") as response,
    ):
        text = await response.text()
    counts: dict[int, dict[str, float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == "goodput_load_requests_total":
                band = counts.setdefault(int(sample.labels["in_flight"]), {})
                compliant = sample.labels["compliant"]
                band[compliant] = band.get(compliant, 0) + sample.value
    return {
        end: band["true"] / sum(band.values())
        for end, band in sorted(counts.items())
        if sum(band.values())
    }
