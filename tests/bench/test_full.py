"""The full bench: its search, its page, its pacer, and a part that runs from end to end."""

from __future__ import annotations

import json
import os
import re
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import pytest

from bench import full, process, workers
from bench.load import UNMEASURED_PATH
from bench.measure import choose_cores
from bench.pacer import Paced
from bench.page import budget, render
from bench.parts import PARTS, Context, growth, idle, metering, saturation, scrapes, streams
from bench.peers import DIRECT, GOODPUT, GOODPUT_COMPILED, NGINX, PEERS, PLAIN_AIOHTTP
from bench.report import Check
from bench.rig import Flow, Rig
from bench.running import BenchError
from bench.search import highest
from tests.bench.test_bench import PLAN, needs_two_cores, sample

if TYPE_CHECKING:
    from pathlib import Path


def flow(cpu_us: float = 20.0, p99_ms: float = 1.0, core: float = 0.3) -> Flow:
    return Flow(
        cpu_us_per_token=cpu_us,
        offered_per_s=10_000,
        sent_per_s=9_990,
        p50_ms=p99_ms / 4,
        p99_ms=p99_ms,
        p999_ms=p99_ms * 2,
        max_ms=p99_ms * 4,
        proxy_core_share=core,
        harness_core_share=0.4,
        stranger_share=0.01,
    )


def measured(peer: str, count: int, number: int, its_flow: Flow) -> streams.Measured:
    return streams.Measured(peer, count, number, its_flow, 40.0)


STREAMS = {
    "levels": [asdict(Paced(0, 50, 100, 250)), asdict(Paced(0, 2000, 20, 50))],
    "light": [asdict(Paced(0, 1, 20, 40))],
    "measured": [
        asdict(measured(peer, count, number, its_flow))
        for number in range(3)
        for count in (50, 2000)
        for peer, its_flow in (
            (DIRECT, flow(0.0, 0.5)),
            (NGINX, flow(16.0 + number, 0.8)),
            (GOODPUT, flow(18.0, 0.9 + count / 1000, core=0.99 if count == 2000 else 0.3)),
        )
    ],
}
SATURATION = {
    "rates": [10_000, 20_000, 40_000],
    "found": {NGINX: 40_000, GOODPUT: 20_000},
    "steps": [
        {"peer": NGINX, "rate": 40_000, "added_p99_ms": 2.0, "flow": asdict(flow())},
        {"peer": GOODPUT, "rate": 40_000, "added_p99_ms": None},
        {"peer": GOODPUT, "rate": 20_000, "added_p99_ms": 2.0, "flow": asdict(flow())},
    ],
    "direct": {"40000": asdict(flow())},
}
IDLE = {
    "idle": [
        asdict(idle.Idle(NGINX, 5000, 6.0, 80.0, 9.0)),
        asdict(idle.Idle(GOODPUT, 5000, 50.0, 150.0, 90.0)),
    ]
}
GROWTH = {
    "growth": [
        asdict(
            growth.Growth(
                GOODPUT,
                few_us=[20.0, 20.0],
                many_us=[22.0, 24.0],
                tenths_us=[20.0] * 9 + [30.0],
                long_mb=[50.0, 51.0],
                requests_us=[300.0] * 10,
                requests_mb=[50.0] * 9 + [55.0],
            )
        )
    ]
}
SCRAPES = {
    "series": 5000,
    "bytes": 500_000,
    "scrape_ms": 30.0,
    "delays": [
        asdict(scrapes.Delay(scraped, 2.0, most, 0.0))
        for scraped, most in ((False, 3.0), (True, 21.0))
    ],
}
METERING = {
    "metered": [
        asdict(metering.Metered(GOODPUT, on, 20.0 if on else 15.0, 300.0)) for on in (True, False)
    ],
    "formats": {},
}
WORKERS = {
    "costs": {
        GOODPUT: {"token": 20.0, "small": 300.0},
        "two workers": {"token": 21.0, "small": 310.0},
        "their supervisor": {"token": 1.0, "small": 50.0},
    }
}
DATA: dict[str, dict[str, Any]] = {
    "side": {
        "plan": asdict(PLAN),
        "samples": [
            asdict(sample(peer, 0, us, 40.0, p50))
            for peer, us, p50 in (
                (DIRECT, 0.0, 0.1),
                (NGINX, 16.0, 0.2),
                (GOODPUT, 18.0, 0.22),
            )
        ],
    },
    "streams": STREAMS,
    "saturation": SATURATION,
    "metering": METERING,
    "idle": IDLE,
    "growth": GROWTH,
    "scrapes": SCRAPES,
    "workers": WORKERS,
}


def record(name: str, date: str = "2026-01-01", **lost: str) -> dict[str, Any]:
    facts = {"date": date, "revision": "abc", "machine": "a machine", "python": "a Python"}
    return {"facts": facts, "command": "make bench-full", "lost": lost, "data": DATA[name]}


@pytest.mark.parametrize(
    ("threshold", "found"), [(-1, None), (0, 0), (1, 1), (6, 6), (7, 7), (99, 7)]
)
def test_the_search_finds_the_last_step_that_holds(threshold: int, found: int | None) -> None:
    """Eight steps need no more than four looks, of which only failures are taken twice."""
    asked: list[int] = []

    def holds(step: int) -> bool:
        asked.append(step)
        return step <= threshold

    assert highest(8, holds) == found
    assert len(set(asked)) <= 4


def test_one_bad_moment_does_not_end_the_search() -> None:
    """A step that fails and then holds has held."""
    asked: list[int] = []

    def holds(step: int) -> bool:
        asked.append(step)
        return asked.count(step) == 2

    assert highest(4, holds) == 3


@pytest.mark.parametrize(
    ("check", "holds"),
    [
        (Check("a", 1.0, 1.25, 1.0), "yes, and the aim"),
        (Check("a", 1.1, 1.25, 1.0), "yes"),
        (Check("a", 1.3, 1.25, 1.0), "**no**"),
        (Check("a", None, 1.25, 1.0), "not measured"),
        (Check("a", 1.0), ""),
        (Check("a", 60_000, 35_000, 50_000, at_least=True), "yes, and the aim"),
        (Check("a", 40_000, 35_000, 50_000, at_least=True), "yes"),
        (Check("a", 30_000, 35_000, 50_000, at_least=True), "**no**"),
    ],
)
def test_the_budget_says_what_holds(check: Check, holds: str) -> None:
    """A figure is within must and aim, within must, beyond it, or was not measured."""
    line = budget([check]).splitlines()[-1]

    assert line.split(" | ")[-1].removesuffix(" |").strip("| ") == holds
    assert (">=" in line) == check.at_least


def test_every_part_has_a_section_and_a_place_in_the_budget() -> None:
    """The page is made from records alone; tables have as many cells in each row as in the head."""
    assert {part.name for part in PARTS} == DATA.keys()
    page = render(PARTS, {name: record(name) for name in DATA}, ())

    for part in PARTS:
        assert f"## {part.title}\n" in page
    for table in re.findall(r"(?:^\|.*\n)+", page, re.MULTILINE):
        assert len({row.count(" | ") for row in table.splitlines()}) == 1, table
    for line in (
        "| CPU per token / nginx | <= 1.25 | <= 1 | 1.12 | yes |",
        "| added latency p50 / nginx | <= 1.5 | <= 1.1 | 1.20 | yes |",
        "added p99 within 10 ms | >= 35,000 | >= 50,000 | 20,000 | **no** |",
        "| kB per idle stream | <= 25 | <= 12 | 20.00 | yes |",
        "| CPU per token, 2,000 streams / 50 | <= 1.15 | <= 1.05 | 1.15 | yes |",
        "| CPU per token, last tenth of 100,000 / first | <= 1.15 | <= 1.05 | 1.50 | **no** |",
        "| longest token delay while scraped, ms | <= 20 | <= 5 | 21.00 | **no** |",
        "| two workers on two cores / one worker, tokens | >= 1.7 | >= 1.9 | 1.82 | yes |",
    ):
        assert line in page


def test_a_figure_of_a_full_core_is_marked() -> None:
    """Tokens that travel in groups are cheap: whoever reads the table must know."""
    section = streams.PART.section(STREAMS)

    assert "| goodput-proxy | 18.0 | 18.0 full |" in section
    assert "| nginx | 17.0 (16.0-18.0) | 17.0 (16.0-18.0) |" in section
    assert "0.08 / 0.30 / 0.60" in section  # what nginx adds


def test_the_highest_rate_offered_is_no_limit_of_a_proxy() -> None:
    """Who carried all that was offered carries at least that."""
    section = saturation.PART.section(SATURATION)

    assert "| nginx | at least 40,000 | 0.30 |" in section
    assert "| goodput-proxy | 20,000 | 0.30 |" in section


def test_a_part_that_was_not_measured_again_stays_on_the_page() -> None:
    """Each section has its own date, and says what is missing in it."""
    records = {
        "idle": record("idle", "2026-01-01", Envoy="not installed"),
        "scrapes": record("scrapes", "2026-02-02"),
    }
    page = render(PARTS, records, {"cost"})

    assert "`make bench-full`, 2026-01-01, revision abc." in page
    assert "`make bench-full`, 2026-02-02, revision abc." in page
    assert "- Envoy: not installed" in page
    assert "## Saturation" not in page
    assert "cost.png" not in page  # of a part that has no record


def test_a_part_that_fails_leaves_its_record_and_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was measured before is not lost, and the exit code says that something failed."""

    def fail(_context: object) -> dict[str, object]:
        raise RuntimeError("no such thing")

    def measure(_context: object) -> dict[str, object]:
        return SCRAPES

    parts = tuple(
        type(part)(
            part.name,
            part.title,
            fail if part.name == "idle" else measure,
            part.section,
            part.checks,
            part.minutes,
        )
        for part in PARTS
        if part.name in {"idle", "scrapes"}
    )
    monkeypatch.setattr(full, "PARTS", parts)
    kept = json.dumps(record("idle"))
    (tmp_path / "idle.json").write_text(kept)
    arguments = ["--results", str(tmp_path), "--peers", DIRECT]

    assert full.main([*arguments, "--only", "idle,scrapes"]) == 1
    assert (tmp_path / "idle.json").read_text() == kept
    page = (tmp_path / "latest.md").read_text()
    assert f"## {scrapes.PART.title}" in page
    assert f"## {idle.PART.title}" in page
    assert full.main([*arguments, "--page"]) == 0


@pytest.mark.parametrize("path", ["/v1/chat/completions", UNMEASURED_PATH])
def test_the_pacer_sees_every_token(path: str) -> None:
    """All tokens go through a proxy on time, those of untimed clients, too; none is left open."""
    needs_two_cores()
    before = process.children(os.getpid())
    rig = Rig(choose_cores())
    try:
        peers = [peer for peer in PEERS if peer.name in {DIRECT, PLAIN_AIOHTTP}]
        for peer in peers:
            with rig.running(peer) as proxy:
                load = Paced(0, 120, 20, 10, path=path)
                seen = rig.measure(proxy, load)

                assert 0 < seen.p50_ms <= seen.p99_ms <= seen.max_ms < 5_000
                assert 0 < seen.sent_per_s <= 1.2 * load.total_rate
                assert (seen.cpu_us_per_token > 0) == (peer.name != DIRECT)
    finally:
        rig.close()
    assert process.children(os.getpid()) == before


def test_the_pacer_says_what_is_wrong() -> None:
    """A proxy that is not there fails its load, and the pacer takes the next one."""
    needs_two_cores()
    rig = Rig(choose_cores())
    try:
        direct = next(peer for peer in PEERS if peer.name == DIRECT)
        with rig.running(direct) as proxy:
            gone = type(proxy)(direct, process.free_port(), 0, None)
            with pytest.raises(BenchError, match="refused"):
                rig.measure(gone, Paced(0, 2, 50, 5))
            assert rig.measure(proxy, Paced(0, 2, 50, 5)).p50_ms > 0
    finally:
        rig.close()


def test_which_build_is_judged() -> None:
    """The compiled one, where both were measured."""
    both = {"found": {GOODPUT: 20_000, GOODPUT_COMPILED: 40_000}}
    (check,) = saturation.PART.checks({**SATURATION, **both})

    assert check.measured == 40_000


def test_series_are_counted_as_a_scrape_shows_them() -> None:
    """Comments are no series."""
    assert scrapes.count_series('# HELP a b\n# TYPE a counter\na 1\na_b{c="d"} 2\n# EOF\n') == 2


def test_a_ratio_of_two_workers_counts_their_supervisor_where_it_has_no_core() -> None:
    """Two workers carry twice what one does, less what they spend more."""
    assert workers.ratio(WORKERS["costs"], "token") == pytest.approx(40 / 21)


@pytest.mark.parametrize(("deadline_s", "made"), [(float("inf"), [0, 1, 2]), (float("-inf"), [0])])
def test_repeats_end_when_time_is_up(deadline_s: float, made: list[int]) -> None:
    """One repeat is made in any case; what is missing is said."""
    context = Context((), 3, quick=False, say=lambda _line: None, deadline_s=deadline_s)

    assert list(context.repeats()) == made
    assert bool(context.lost) == (len(made) < 3)


def test_the_judged_build_is_measured_while_there_is_time() -> None:
    """The proxy comes before its peers; who comes too late is named."""
    peers = tuple(peer for peer in PEERS if peer.name in {NGINX, GOODPUT, GOODPUT_COMPILED})
    context = Context(peers, 3, quick=False, say=lambda _line: None)
    names = []
    for peer in context.in_time(NGINX, GOODPUT, GOODPUT_COMPILED):
        names.append(peer.name)
        if len(names) == 2:
            context.deadline_s = float("-inf")

    assert names == [GOODPUT_COMPILED, NGINX]
    assert list(context.lost) == [GOODPUT]
