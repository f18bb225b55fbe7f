"""Promise 44: what is read from the admin listener costs nobody a token."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.conformance.stamped import Ages, generating, measure
from tests.integration.fake_upstream import connect
from tests.integration.harness import get, post, scrape, sized
from tests.integration.process import serving
from tests.waiting import eventually

if TYPE_CHECKING:
    from tests.integration.conftest import StartProxy
    from tests.integration.fake_upstream import FakeUpstream
    from tests.integration.process import ProxyProcess

MODELS = 40
SERIES = 10_000
DELAY_LIMIT_MS = 20.0
JSON = b"Content-Type: application/json"


async def fill(proxy: ProxyProcess) -> int:
    """Have many models answered; return how many series there are then."""
    client = await connect(proxy.port)
    for i in range(MODELS - 1):
        client.send(post(b'{"model":"m%d"}' % i))
        assert (await client.answer()).status == 200
    client.close()
    exposed = (await get(proxy.admin_port, "/metrics")).body
    return sum(not line.startswith(b"#") for line in exposed.splitlines())


async def measure_while_scraping(proxy: ProxyProcess) -> tuple[Ages, int]:
    """Read streams while `/metrics` is read all the time; return how often that was, too."""
    done = asyncio.Event()

    async def keep_scraping() -> int:
        scrapes = 0
        while not done.is_set():
            assert (await get(proxy.admin_port, "/metrics")).status == 200
            scrapes += 1
        return scrapes

    scraping = asyncio.create_task(keep_scraping())
    ages = await measure(proxy.port)
    done.set()
    return ages, await scraping


async def test_44_a_scrape_of_10000_series_delays_no_token() -> None:
    """However many series are rendered, no token comes 20 ms later than it does without that."""
    async with generating() as url, serving(url, "--limits.models", str(MODELS)) as proxy:
        assert await fill(proxy) > SERIES
        for _ in range(4):  # on a busy machine once more
            without = await measure(proxy.port)
            ages, scrapes = await measure_while_scraping(proxy)
            print(f"without: {without}; {scrapes} scrapes: {ages}")  # noqa: T201 -- `pytest -s`
            assert scrapes > 2
            if ages.most < without.most + DELAY_LIMIT_MS + without.allowance:
                return
    pytest.fail(f"without: {without}; with: {ages}")


async def test_44_a_scrape_works_while_the_proxy_is_full(
    start_proxy: StartProxy, upstream: FakeUpstream
) -> None:
    """When no client can connect any more, whoever watches still can."""
    proxy = await start_proxy(limits={"connections": 50})
    clients = [await proxy.connect() for _ in range(50)]
    for client in clients:
        client.send(post(b"{}"))
    for _ in clients:
        await (await upstream.accept()).request()
    await eventually(lambda: proxy.connections == 50)
    for _ in range(100):
        await proxy.connect()

    samples = await scrape(proxy.admin_port)
    assert samples.total("goodput_requests_in_flight") == 50
    assert samples.total("goodput_client_faults_total", reason="surplus") == 100


async def test_44_labels_are_bounded(start_proxy: StartProxy) -> None:
    """However many models are asked for, and answered, the label has so many values."""
    proxy = await start_proxy(limits={"models": 3})
    for i in range(10):
        body = b'{"model":"m%d"}' % i
        await proxy.exchange(post(body), sized(b"{}", b"200 OK", JSON))
    samples = await proxy.samples()
    models = {dict(labels).get("model") for _, labels in samples.values} - {None}

    assert models == {"unknown", "m0", "m1", "other"}
    assert sum(samples.verdicts().values()) == 10
