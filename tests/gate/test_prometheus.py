"""A window of the past, asked of a real Prometheus."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer, unused_port
from yarl import URL

from goodput_proxy.gate import prometheus as module
from goodput_proxy.gate.prometheus import observe_prometheus
from goodput_proxy.settings import ConfigError
from tests.deploy.prometheus import scraping
from tests.gate.past import START_S, STEP_S, remembering
from tests.integration.harness import post, sized

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from goodput_proxy.gate.counts import Observation
    from tests.integration.conftest import StartProxy
    from tests.integration.fake_upstream import FakeUpstream

MINUTE_NS = 60 * 10**9
STEPS = 41  # ten minutes
RANGE_S = STEPS * STEP_S - STEP_S


def grows(per_step: float) -> list[float]:
    """Return a counter that grows steadily."""
    return [i * per_step for i in range(STEPS)]


def restarts(per_step: float, at: int) -> list[float]:
    """Return a counter that grows steadily, of a process that starts again."""
    return [(i if i < at else i - at) * per_step for i in range(STEPS)]


def requests(slo: str, verdict: str, cause: str = "", model: str = "m", job: str = "a") -> str:
    """Return a series of requests."""
    labels = f'job="{job}",api="chat",model="{model}",slo="{slo}"'
    return f'goodput_requests_total{{{labels},verdict="{verdict}",cause="{cause}"}}'


PAST = {
    requests("default", "good"): grows(6),
    requests("default", "slow", "ttft"): grows(3),
    requests("default", "slow", "itl"): grows(1),
    requests("default", "good", model="n", job="b"): grows(10),
    requests("gold", "good"): restarts(9, at=21),
    requests("gold", "error", "timeout"): restarts(1, at=21),
    'goodput_slo_objective_ratio{job="a",slo="default"}': [0.9] * STEPS,
    'goodput_slo_objective_ratio{job="b",slo="default"}': [0.95] * STEPS,
    # This proxy was ended seven minutes before the end of the range.
    'goodput_slo_objective_ratio{job="a",slo="gold"}': [0.8] * (STEPS - 28),
}


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return where Prometheus keeps its data."""
    return tmp_path_factory.mktemp("prometheus")


@pytest.fixture
async def url(directory: Path) -> AsyncIterator[str]:
    """Return a Prometheus with the past above."""
    async with remembering(directory, PAST) as url:
        yield url


async def observe(
    url: str,
    match: Mapping[str, str] | None = None,
    range_ns: int = RANGE_S * 10**9,
    at_s: float | None = START_S + RANGE_S,
) -> Observation:
    """Observe the whole past, unless told otherwise."""
    async with aiohttp.ClientSession() as client:
        return await observe_prometheus(client, URL(url), range_ns, at_s, match or {})


async def test_the_past(url: str) -> None:
    """Every verdict is counted by class, over all proxies; the strictest objective counts."""
    seen = await observe(url)

    assert seen.classes["default"].good == pytest.approx(16 * 40)
    assert seen.classes["default"].answered == pytest.approx(20 * 40)
    assert seen.classes["default"].ratio == pytest.approx(0.8)
    assert list(seen.classes["default"].causes) == ["slow:ttft", "slow:itl"]
    assert seen.objectives["default"] == 0.95
    assert (seen.window_s, seen.source) == (600.0, url)


async def test_counter_resets(url: str) -> None:
    """A restart of the proxy changes the ratio by nothing, and takes one step from the sum."""
    seen = await observe(url)

    assert seen.classes["gold"].good == pytest.approx(9 * 39)
    assert seen.classes["gold"].causes == {"error:timeout": pytest.approx(39)}
    assert seen.classes["gold"].ratio == pytest.approx(0.9)


async def test_a_proxy_that_has_ended_still_has_its_objective(url: str) -> None:
    """The objective is the last one within the range, not the one of this moment."""
    assert (await observe(url)).objectives["gold"] == 0.8


async def test_range_and_time(url: str) -> None:
    """The range ends at the given time."""
    seen = await observe(url, range_ns=5 * MINUTE_NS, at_s=START_S + 300)

    assert seen.window_s == 300
    assert seen.classes["default"].good == pytest.approx(16 * 20)


@pytest.mark.parametrize(
    ("match", "good"),
    [
        ({"slo": "gold"}, {"gold": 9 * 39}),
        ({"job": "b"}, {"default": 10 * 40}),
        ({"job": "a", "slo": "default"}, {"default": 6 * 40}),
        ({"model": "n", "api": "chat"}, {"default": 10 * 40}),
    ],
)
async def test_match(match: dict[str, str], good: dict[str, float], url: str) -> None:
    """A label of the requests or of the scrape selects; objectives are found by what they have."""
    seen = await observe(url, match)

    assert {slo: counts.good for slo, counts in seen.classes.items()} == pytest.approx(good)
    assert seen.objectives.keys() >= good.keys()


@pytest.mark.parametrize("value", ["gilt", 'gold"} or vector(1) #', "gold\\", "ü\n"])
async def test_match_of_nothing(value: str, url: str) -> None:
    """A value is a value, whatever it holds; one that nobody has is said to be missing."""
    with pytest.raises(ConfigError, match="has no two samples of goodput_requests_total"):
        await observe(url, {"slo": value})


async def test_nothing_at_that_time(url: str) -> None:
    """Without a time the range ends now, where this past has nothing."""
    with pytest.raises(ConfigError, match=r"goodput_requests_total\[600000ms\]$"):
        await observe(url, at_s=None)


async def test_a_range_that_prometheus_refuses(url: str) -> None:
    """What Prometheus says against a query is passed on."""
    with pytest.raises(ConfigError, match=r"^prometheus: http://.* refuses: .*parse error"):
        await observe(url, {"no-label": "x"})


async def test_no_prometheus() -> None:
    """Whoever answers with something else is named."""
    async with TestServer(web.Application()) as server:
        with pytest.raises(ConfigError, match=r"answers like no Prometheus, with HTTP 404$"):
            await observe(str(server.make_url("/")))


async def test_nobody_there() -> None:
    """An unreachable address is named, a password in it is not."""
    port = unused_port()
    with pytest.raises(ConfigError) as caught:
        await observe(f"http://me:secret@127.0.0.1:{port}/prometheus/")
    assert caught.value.problems == (
        f"prometheus: http://127.0.0.1:{port}/prometheus cannot be asked: connection refused",
    )


async def test_silence(upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever takes the connection and says nothing is not waited for without an end."""
    monkeypatch.setattr(module, "QUERY_TIMEOUT_S", 0.05)
    with pytest.raises(ConfigError, match=r"cannot be asked: no answer in time$"):
        await observe(upstream.url)


async def test_a_proxy_that_prometheus_scrapes(tmp_path: Path, start_proxy: StartProxy) -> None:
    """What a real proxy exports, a real Prometheus stores and answers, is what was counted."""
    proxy = await start_proxy(slo={"objective": 0.75})
    async with scraping(tmp_path, proxy.admin_port, {"job": "proxies"}) as prometheus:

        async def has_counted(errors: int) -> bool:
            return await prometheus.value('sum(goodput_requests_total{verdict="error"})') == errors

        await prometheus.until(partial(has_counted, 0), "a scrape")
        for _ in range(5):
            await proxy.exchange(post(b"{}"), sized(b"", b"503 No"))
        await proxy.idle()
        await prometheus.until(partial(has_counted, 5), "another scrape")
        seen = await observe(prometheus.url, {"job": "proxies"}, 30 * 10**9, None)

    assert set(seen.classes) == {"default"}
    assert seen.classes["default"].ratio == 0.0
    assert round(seen.classes["default"].judged) >= 5  # extrapolated to the edges of the range
    assert seen.objectives == {"default": 0.75}
