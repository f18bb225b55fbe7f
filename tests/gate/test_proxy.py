"""A window between two scrapes of a running proxy, restarts included."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from yarl import URL

from goodput_proxy.gate.counts import Counts, Observation
from goodput_proxy.gate.proxy import RESTARTED, difference, has_restarted, observe_proxy
from goodput_proxy.scrape import parse
from goodput_proxy.settings import ConfigError
from tests.integration.harness import DONE, FINISH, RunningProxy, post, sized, token

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from tests.integration.conftest import StartProxy

GOOD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: %d\r\n\r\n%b"
STREAM = token() + token("b") + FINISH + DONE
CLASSES: dict[str, Any] = {
    "slo": {"ttft": "60s", "itl": "60s", "objective": 0.9},
    "slo_classes": [{"name": "gold", "match": {"headers": {"x-tier": "gold"}}, "ttft": "60s"}],
}


async def play(proxy: RunningProxy, good: int = 0, bad: int = 0, *headers: bytes) -> None:
    """Send requests of which so many are good and so many are errors, and have them judged."""
    for _ in range(good):
        await proxy.exchange(post(b'{"model":"m"}', *headers), GOOD % (len(STREAM), STREAM))
    for _ in range(bad):
        await proxy.exchange(post(b'{"model":"m"}', *headers), sized(b"", b"503 No"))
    await proxy.idle()


async def observe(
    url: str,
    meanwhile: Callable[[], Coroutine[Any, Any, None]] | None = None,
    match: Mapping[str, str] | None = None,
) -> Observation:
    """Observe a window in which something happens, instead of time passing."""

    async def sleep(seconds: float) -> None:
        assert seconds == 60.0
        if meanwhile is not None:
            await meanwhile()

    async with aiohttp.ClientSession() as client:
        return await observe_proxy(client, URL(url), 60.0, match or {}, sleep)


async def test_only_what_the_window_saw_is_counted(start_proxy: StartProxy) -> None:
    """What was counted before is left out, and every class stands by itself."""
    proxy = await start_proxy(**CLASSES)
    await play(proxy, 2, 1)

    async def meanwhile() -> None:
        await play(proxy, 3, 2)
        await play(proxy, 1, 0, b"x-tier: gold")

    seen = await observe(proxy.app.admin_url, meanwhile)

    assert (seen.classes["default"].good, seen.classes["default"].judged) == (3, 5)
    assert seen.classes["default"].causes == {"error:http_5xx": 2}
    assert (seen.classes["gold"].good, seen.classes["gold"].judged) == (1, 1)
    assert seen.objectives == {"default": 0.9, "gold": 0.95}
    assert (seen.source, seen.note) == (proxy.app.admin_url, "")
    assert 0 < seen.window_s < 60  # what has passed, not what was asked for


@pytest.mark.parametrize(
    ("match", "requests"),
    [({"slo": "gold"}, {"gold": 1}), ({"model": "m", "slo": "default"}, {"default": 3})],
)
async def test_match(
    match: dict[str, str], requests: dict[str, int], start_proxy: StartProxy
) -> None:
    """Only series that have all of the labels are counted."""
    proxy = await start_proxy(**CLASSES)

    async def meanwhile() -> None:
        await play(proxy, 3)
        await play(proxy, 1, 0, b"x-tier: gold")

    seen = await observe(proxy.app.admin_url, meanwhile, match)

    assert {slo: counts.judged for slo, counts in seen.classes.items()} == requests


@pytest.mark.parametrize(
    ("match", "problem"),
    [
        ({"job": "x"}, r"^match: goodput_requests_total at http://.* has no label 'job'$"),
        ({"slo": "gilt"}, r"^match: http://127.0.0.1:\d+ has counted nothing with slo=gilt$"),
    ],
)
async def test_match_of_nothing(
    match: dict[str, str], problem: str, start_proxy: StartProxy
) -> None:
    """A label that a proxy does not have, or a value that it never saw, is most likely a typo."""
    proxy = await start_proxy()
    with pytest.raises(ConfigError, match=problem):
        await observe(proxy.app.admin_url, match=match)


async def test_no_proxy() -> None:
    """Another program's metrics are not taken for a proxy's."""

    async def handle(_: web.Request) -> web.Response:
        return web.Response(text="vllm:request_success_total 1\n")

    app = web.Application()
    app.router.add_get("/metrics", handle)
    async with TestServer(app) as server:
        with pytest.raises(ConfigError, match=r"^proxy: .* has no goodput_requests_total"):
            await observe(str(server.make_url("")))


async def test_a_proxy_that_goes_away(start_proxy: StartProxy) -> None:
    """A proxy that is gone when the window ends is an unreachable address."""
    proxy = await start_proxy()
    with pytest.raises(ConfigError, match=r"^proxy: .* cannot be read: "):
        await observe(proxy.app.admin_url, proxy.stop)


async def test_a_restart_counts_from_zero(start_proxy: StartProxy) -> None:
    """After a restart what the new process has counted is what is known, and a note says so."""
    first = await start_proxy(**CLASSES)
    url = first.app.admin_url
    await play(first, 5)

    async def meanwhile() -> None:
        await play(first, 1, 1)
        await first.stop()
        second = await start_proxy(admin_listen=url.removeprefix("http://"), **CLASSES)
        await play(second, 2, 1)

    seen = await observe(url, meanwhile)

    assert (seen.classes["default"].good, seen.classes["default"].judged) == (2, 3)
    assert seen.classes["default"].causes == {"error:http_5xx": 1}
    assert seen.note == RESTARTED


SERIES = 'goodput_requests_total{{slo="s",verdict="{}",cause=""}} {}\n'


def exposition(good: float, error: float, start_s: float | None = None) -> str:
    """Return a scrape, with the start of its process where the platform knows it."""
    start = f"process_start_time_seconds {start_s}\n" if start_s is not None else ""
    return SERIES.format("good", good) + SERIES.format("error", error) + start


@pytest.mark.parametrize(
    ("before", "after", "restarted", "good", "error"),
    [
        ((10, 5, 1.0), (14, 6, 1.0), False, 4, 1),
        ((10, 5, 1.0), (14, 6, 2.0), True, 14, 6),  # it has overtaken its predecessor
        ((10, 5, 1.0), (3, 0, 2.0), True, 3, 0),
        ((10, 5, None), (3, 6, None), True, 3, 6),  # one counter has fallen: all have restarted
        ((10, 5, None), (10, 5, None), False, 0, 0),
        ((10, 5, None), (0, 0, None), True, 0, 0),
    ],
)
def test_restarts_are_noticed(
    before: tuple[float, float, float | None],
    after: tuple[float, float, float | None],
    restarted: bool,  # noqa: FBT001
    good: float,
    error: float,
) -> None:
    """Another start of the process is a restart, and so is any counter that has fallen."""
    first, second = parse(exposition(*before)), parse(exposition(*after))

    assert has_restarted(first, second) is restarted
    assert difference(first, second, {}) == {
        "s": Counts({("good", ""): good, ("error", ""): error})
    }


def test_a_series_that_is_born_in_the_window() -> None:
    """A series that the first scrape did not have yet has grown from zero."""
    first = parse(SERIES.format("good", 1))
    second = parse(SERIES.format("good", 1) + SERIES.format("error", 2))

    assert difference(first, second, {})["s"].causes == {"error:": 2}


async def test_time_passes_by_itself(start_proxy: StartProxy) -> None:
    """Without a substitute the window is as long as it was asked to be."""
    proxy = await start_proxy()
    async with aiohttp.ClientSession() as client, asyncio.timeout(10):
        seen = await observe_proxy(client, URL(proxy.app.admin_url), 0.05, {})

    assert seen.window_s >= 0.05
