"""A scrape gives samples, or one line that says why not."""

from __future__ import annotations

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer, unused_port

from goodput_proxy import scrape as module
from goodput_proxy.scrape import ScrapeError, scrape
from tests.integration.fake_upstream import FakeUpstream
from tests.integration.harness import RunningProxy


async def fetch(url: str) -> dict[str, float]:
    """Scrape once, and return the samples without labels."""
    async with aiohttp.ClientSession() as client:
        return {s.name: s.value for s in await scrape(client, url) if not s.labels}


async def fails(url: str) -> str:
    """Scrape in vain, and return why."""
    with pytest.raises(ScrapeError) as caught:
        await fetch(url)
    return str(caught.value)


@pytest.mark.parametrize("end", ["", "/"])
async def test_a_running_proxy(end: str) -> None:
    """Every sample of a proxy is there; a slash behind the address does no harm."""
    upstream = FakeUpstream()
    await upstream.start()
    proxy = await RunningProxy.start(upstream)
    samples = await fetch(proxy.app.admin_url + end)
    await proxy.stop()
    await upstream.stop()

    assert samples["goodput_requests_in_flight"] == 0.0
    assert samples["goodput_config_last_reload_successful"] == 1.0


async def test_nobody_there() -> None:
    """An address where nobody listens is named, with the reason."""
    url = f"http://127.0.0.1:{unused_port()}"

    assert await fails(url) == f"{url}/metrics cannot be read: connection refused"


async def test_no_such_host() -> None:
    """A name that nobody knows is named."""
    assert await fails("http://nobody.invalid:9001") in {
        "http://nobody.invalid:9001/metrics cannot be read: name or service not known",
        "http://nobody.invalid:9001/metrics cannot be read: temporary failure in name resolution",
    }


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (web.Response(status=404), "answers with HTTP 404"),
        (web.Response(text="<html>{nobody} =", content_type="text/html"), "is not Prometheus'"),
        (web.Response(body=b"goodput_\xff 1\n", charset="utf-8"), "is not Prometheus'"),
    ],
)
async def test_somebody_else(answer: web.Response, reason: str) -> None:
    """Whoever answers with something else is named, and what is wrong with it."""

    async def handle(_: web.Request) -> web.Response:
        return answer

    app = web.Application()
    app.router.add_get("/metrics", handle)
    async with TestServer(app) as server:
        assert f"/metrics {reason}" in await fails(str(server.make_url("")))


async def test_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever takes the connection and says nothing is not waited for without an end."""
    monkeypatch.setattr(module, "SCRAPE_TIMEOUT_S", 0.05)
    upstream = FakeUpstream()
    await upstream.start()
    assert await fails(upstream.url) == f"{upstream.url}/metrics cannot be read: no answer in time"
    await upstream.stop()
