"""The live page in headless Chromium: what it shows is what is counted, for everybody who looks."""

from __future__ import annotations

import asyncio
import io
import json
import os
import re
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
import pytest_asyncio

from goodput_proxy.app import App
from goodput_proxy.demo.engine import Profile
from goodput_proxy.demo.load import ramp
from goodput_proxy.demo.records import Limits
from goodput_proxy.demo.run import DemoOptions, play
from goodput_proxy.demo.scenarios import RAMP
from goodput_proxy.demo.verdicts import Verdicts, fetch_verdicts
from goodput_proxy.demo.workload import Workload
from goodput_proxy.settings import Settings
from tests.live.browser import chromium
from tests.live.child import ROOT, child
from tests.live.traffic import SETTINGS, mixed, tell
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.live.browser import Browser, Page

pytestmark = pytest.mark.asyncio(loop_scope="module")

AXE = Path(__file__).parent / "axe" / "axe.min.js"
IMAGES = ROOT / "docs" / "images"
# `make pictures` takes the time for a run at the demo's own pace, and keeps what it shows.
PICTURES = os.environ.get("GOODPUT_PICTURES") == "1"
MS = 1_000_000

# What the page says, by the names of the metrics' labels.
READ_VERDICTS = """Object.fromEntries(Array.from(
    document.querySelectorAll("#verdicts tbody tr"),
    (row) => [row.dataset.key, Number(row.querySelector(".ever").textContent.replaceAll(",", ""))],
))"""
SHOWN = "Number(document.body?.dataset.shown ?? 0)"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Browser]:
    """Return a browser that all tests share: its start takes longer than most of them."""
    async with chromium(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@asynccontextmanager
async def looking(browser: Browser, url: str, **screen: Any) -> AsyncIterator[Page]:
    """Look at the page; nothing may be written to its console, nor be asked of anybody else."""
    page = await browser.open(**screen)
    await page.go(url + "/")
    await page.until(f"{SHOWN} > 0")
    yield page
    await page.close()
    assert page.console == []
    assert [asked for asked in page.requests if not asked.startswith(url + "/")] == []
    assert len(page.requests) > 10


@pytest_asyncio.fixture(loop_scope="module")
async def app() -> AsyncIterator[App]:
    """Return a proxy that has had no request."""
    app = App(Settings.model_validate(SETTINGS))
    await app.start()
    yield app
    await app.stop()


async def counted(url: str) -> Verdicts:
    """Return what `/metrics` says."""
    async with aiohttp.ClientSession() as client:
        return await fetch_verdicts(client, url)


def by_key(verdicts: Verdicts) -> dict[str, int]:
    """Return counts as the page names them."""
    plain = {"good", "good_partial"}
    return {
        verdict if verdict in plain else f"{verdict}:{cause}": count
        for (verdict, cause), count in verdicts.counts.items()
        if count
    }


async def next_update(page: Page, updates: int = 1) -> None:
    """Wait until the page has shown further summaries."""
    await page.until(f"{SHOWN} >= {await page.evaluate(SHOWN) + updates}")


async def text(page: Page, name: str) -> str:
    """Return the text of an element."""
    shown: str = await page.evaluate(f"document.getElementById({json.dumps(name)}).textContent")
    return shown


async def find_violations(page: Page) -> list[str]:
    """Return what axe finds wrong."""
    await page.evaluate(AXE.read_text("utf-8") + "; 0")
    found = await page.evaluate(
        "axe.run({resultTypes: ['violations']}).then(({violations}) => violations.map("
        "(v) => `${v.id}: ${v.help}: ${v.nodes.slice(0, 3).map((n) => n.html)}`))"
    )
    return list(found)


# -- without traffic


async def test_before_the_first_request_it_says_what_to_do(browser: Browser, app: App) -> None:
    """The address of the proxy, ready to be copied; the first request takes its place."""
    async with looking(browser, app.admin_url) as page:
        assert await page.evaluate("!document.getElementById('empty').hidden")
        assert await text(page, "client-url") == app.proxy_url
        assert await text(page, "client-env") == f"export OPENAI_BASE_URL={app.proxy_url}/v1"
        assert await find_violations(page) == []
        tell(app, *mixed(app)[:1])
        await next_update(page, 2)
        assert await page.evaluate("document.getElementById('empty').hidden")
        assert await page.evaluate("!document.getElementById('story').hidden")


# -- what it shows


async def test_numbers_are_those_of_the_metrics(browser: Browser, app: App) -> None:
    """Every verdict by cause, and names from requests as text, never as markup."""
    tell(app, *mixed(app))
    async with looking(browser, app.admin_url) as page:
        await next_update(page)
        verdicts = await counted(app.admin_url)

        assert await page.evaluate(READ_VERDICTS) == by_key(verdicts)
        assert verdicts.ratio is not None
        assert f"{verdicts.ratio:.0%}".replace("%", " %") in await text(page, "subline")
        models = await page.evaluate(
            "Array.from(document.querySelectorAll('#models tbody th'), (th) => th.textContent)"
        )
        assert models == ["m-7b", "other", "<script>alert(1)</script>"]


async def test_a_cell_of_the_frontier_says_what_would_have_been(browser: Browser, app: App) -> None:
    """Under the pointer, and under the arrow keys, for any pair of limits."""
    tell(app, *mixed(app))
    async with looking(browser, app.admin_url) as page:
        own = await text(page, "frontier-text")
        assert own.startswith("With TTFT ≤ 500 ms and ITL ≤ 50 ms goodput would have been ")
        summary = await page.evaluate("fetch('api/v1/summary').then((answer) => answer.json())")
        frontier = summary["classes"][0]["frontier"]
        row, column = frontier["ttft_le_ms"].index(1000), frontier["itl_le_ms"].index(50)
        percent = f"{frontier['ratios'][row][column]:.0%}".replace("%", " %")
        sentence = f"With TTFT ≤ 1 s and ITL ≤ 50 ms goodput would have been {percent}."

        await page.hover(f"#frontier td[data-row='{row}'][data-column='{column}']")
        assert await text(page, "frontier-text") == sentence
        await page.hover("#frontier-title")
        assert await text(page, "frontier-text") == own

        await page.evaluate("document.querySelector('#frontier td[tabindex=\"0\"]').focus()")
        for _ in range(2):
            await page.press("ArrowUp")  # 750 ms, 1 s
        assert await text(page, "frontier-text") == sentence
        spoken = await page.evaluate("document.activeElement.getAttribute('aria-label')")
        assert spoken.lower() == sentence.lower().rstrip(".")


async def test_the_class_is_chosen(browser: Browser, app: App) -> None:
    """Distributions, knee and frontier are those of one class, against its own limits."""
    tell(app, *mixed(app))
    async with looking(browser, app.admin_url) as page:
        assert await page.evaluate("document.getElementById('class').value") == "chat"
        assert "keep the limit of 500 ms" in await text(page, "ttft-text")
        assert await text(page, "knee-text") == (
            "The SLO holds up to 16 requests in flight, and breaks beyond."
        )
        await page.evaluate(
            "(() => { const choice = document.getElementById('class'); choice.value = 'batch';"
            " choice.dispatchEvent(new Event('change')) })()"
        )
        assert await text(page, "ttft-text") == "No request yet."
        assert "Kept at all loads" in await text(page, "knee-text") or "not kept" in await text(
            page, "knee-text"
        )


async def test_requests_are_listed_with_their_tokens(browser: Browser, app: App) -> None:
    """The latest and the worst, each token a tick; held while somebody reads."""
    tell(app, *mixed(app))
    rows = "document.querySelectorAll('#requests tbody tr').length"
    async with looking(browser, app.admin_url, height=3000) as page:
        assert await page.until(rows) == 25
        await page.hover("#requests tbody tr")
        assert await page.until(rows) == 200
        assert await text(page, "requests-state") == "200 requests, held while you read"
        await page.evaluate("document.getElementById('show-worst').click()")
        assert await page.evaluate(rows) == 25 + 7
        first = "document.querySelector('#requests tbody tr')"
        told = await page.evaluate(f"{first}.textContent")
        ticks = await page.evaluate(f"{first}.querySelector('.tick').getAttribute('d')")

        assert "the-worst-of-all" in told
        assert "8.6\u00d7" in told
        assert ticks.count("M") == 30
        await page.evaluate("document.getElementById('hold').click()")
        tell(app, *mixed(app))
        await next_update(page, 3)
        assert await page.evaluate(rows) == 32
        assert "held" in await text(page, "requests-state")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
async def test_axe_finds_nothing(browser: Browser, app: App, *, dark: bool) -> None:
    """Contrast, names, roles and order, on a wide screen and on a phone."""
    tell(app, *mixed(app))
    async with looking(browser, app.admin_url, height=3000, dark=dark) as page:
        await page.until("document.querySelectorAll('#requests tbody tr').length")
        assert await find_violations(page) == []
        await page.resize(390, 3000)
        assert await find_violations(page) == []
        width = "document.documentElement.scrollWidth"
        assert await page.evaluate(width) == 390


async def test_a_hidden_page_asks_for_nothing(browser: Browser, app: App) -> None:
    """It lets its stream go, so that nothing is made for nobody."""
    async with looking(browser, app.admin_url) as page:
        await eventually(lambda: app._live._feed._listeners == 1, "it listens")
        await page.evaluate(
            "Object.defineProperty(document, 'hidden', {value: true});"
            "document.dispatchEvent(new Event('visibilitychange'))"
        )
        await eventually(lambda: app._live._feed._listeners == 0, "it has left")


# -- while the demo runs

# Slow enough that a busy machine serves it in time: 32 answers a second at most, each of half a
# second. The limit lies between a free slot (two steps of 63 ms) and a full queue (1.5 s).
SCENARIO = replace(
    RAMP,
    profile=Profile(
        max_batch=16, step_base_ns=60 * MS, step_per_sequence_ns=12 * MS, time_scale=0.25
    ),
    limits=Limits(600 * MS, 250 * MS),
    users=(3, 64),
    workload=Workload("demo-model", prompt_tokens=(50, 150), output_tokens=(6, 10)),
)
DEMO = DemoOptions(SCENARIO, seed=11)
LINES = """(() => {
    const parse = (id) => Number(document.getElementById(id).textContent.replaceAll(",", ""));
    return [parse("goodput"), parse("throughput")];
})()"""


@pytest.mark.timeout(120)
async def test_the_lines_part_while_the_demo_runs(browser: Browser, tmp_path: Path) -> None:
    """All is well with few users; with many, throughput holds and goodput falls without an error.

    At each moment the page is within one update of `/metrics`.
    """
    out, stop = io.StringIO(), asyncio.Event()
    few, many = SCENARIO.users
    users = few
    options = replace(DEMO, users_at=lambda _: users)
    if PICTURES:
        options = DemoOptions(users_at=ramp(4, 96, 60.0))
    demo = asyncio.create_task(play(options, out, stop))
    await eventually(lambda: "PromQL" in out.getvalue(), "the demo runs")
    (url,) = re.findall(r"^  admin +(\S+)$", out.getvalue(), re.MULTILINE)
    end_s = monotonic() + (61.0 if PICTURES else 0.0)
    async with looking(browser, url, height=2600) as page:
        goodput = calm = 0.0
        while not goodput >= 0.9 * calm > 0:  # the first request of all may be late
            goodput, calm = await compare(page, url)
        users = many
        throughput = 0.0
        while goodput >= 0.5 * throughput or throughput < calm or monotonic() < end_s:
            goodput, throughput = await compare(page, url)
        assert "None fails" in await text(page, "subline")
        await take_pictures(page, IMAGES if PICTURES else tmp_path)
    stop.set()
    outcome = await demo

    assert {record.status for record in outcome.totals.records if not record.error} == {200}


async def compare(page: Page, url: str) -> tuple[float, float]:
    """Hold the page to what is counted before and after; return goodput and throughput."""
    before = by_key(await counted(url))
    await next_update(page, 2)  # the first may have been under way
    shown = await page.evaluate(READ_VERDICTS)
    after = by_key(await counted(url))
    assert before.keys() <= shown.keys() <= after.keys()
    assert all(before.get(key, 0) <= shown[key] <= after[key] for key in shown), (before, shown)
    goodput, throughput = await page.evaluate(LINES)
    return goodput, throughput


async def take_pictures(page: Page, folder: Path) -> None:
    """Save what the page looks like, wide and narrow, light and dark."""
    for width, name in ((1280, "wide"), (390, "phone")):
        for dark in (False, True):
            await page.resize(width, 2600)
            await page.prefer(dark=dark)
            await page.evaluate("new Promise((done) => setTimeout(done, 250))")  # for its redrawing
            picture = folder / f"live-page-{name}-{'dark' if dark else 'light'}.png"
            await page.screenshot(picture)
            assert picture.stat().st_size > 20_000


# -- what it costs


async def test_five_thousand_requests_a_second(browser: Browser) -> None:
    """Updates stay at one a second; the browser's work and the proxy's stay below 10 % of a core.

    The whole page is on the screen, the list of requests included. CPU is counted, and not time,
    since the machine may be busy with other things; the proxy's is that of the thread in which
    documents are made.
    """
    async with child("tests.live.flood") as (url, ask), looking(browser, url, height=3000) as page:
        await next_update(page, 2)
        shown, begin_s = await page.evaluate(SHOWN), monotonic()
        before, used = await ask(""), await browser.processes()
        await asyncio.sleep(5)
        updates, seconds = await page.evaluate(SHOWN) - shown, monotonic() - begin_s
        after, using = await ask(""), await browser.processes()

    assert abs(updates - seconds) <= 2
    assert (after["told"] - before["told"]) / seconds > 4000
    assert 0 < (after["cpu_s"] - before["cpu_s"]) / seconds < 0.1
    assert (using["renderer"] - used["renderer"]) / seconds < 0.1
