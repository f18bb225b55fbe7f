"""The bench measures what it says: its arithmetic, its table, and a run of a few seconds."""

from __future__ import annotations

import json
import os
import time

import pytest

from bench import process, report
from bench.client import percentile
from bench.load import STAMP_DIGITS, STAMP_PREFIX, Load, request_bytes
from bench.measure import Plan, Sample, Use, choose_cores, run_rounds
from bench.meter import FORMATS, measure_us
from bench.peers import DIRECT, GOODPUT, GOODPUT_COMPILED, NGINX, PEERS, PLAIN_AIOHTTP, Peer
from bench.running import BenchError
from bench.upstream import TOKEN_CHUNK_BYTES

PLAN = Plan(
    stream=Load(connections=8, requests=2, tokens=10, interval_us=10_000),
    small=Load(connections=4, requests=5, tokens=0, interval_us=5_000),
    rounds=1,
)


def needs_two_cores() -> None:
    """Skip where nothing can be pinned: the bench itself says the same and ends."""
    try:
        choose_cores()
    except BenchError as error:
        pytest.skip(str(error))


def use(cpu_us: float, p50_ms: float = 0.1) -> Use:
    return Use(
        cpu_us_per_unit=cpu_us,
        system_share=0.5,
        wall_s=8.2,
        p50_ms=p50_ms,
        p99_ms=p50_ms * 3,
        p999_ms=p50_ms * 9,
        max_ms=p50_ms * 20,
        proxy_core_share=0.15,
        harness_core_share=0.25,
        stranger_share=0.01,
    )


def sample(
    peer: str, number: int, token_us: float, request_us: float = 40.0, p50_ms: float = 0.1
) -> Sample:
    return Sample(peer, number, use(token_us, p50_ms), use(request_us), 41.0, 47.0)


def four_peers(goodput_us: float) -> report.Results:
    """Three rounds; the second on a machine that is twice as slow."""
    samples = []
    for number, slow in enumerate((1.0, 2.0, 1.0)):
        samples += [
            sample(DIRECT, number, 0.0, 0.0, p50_ms=0.1),
            sample(NGINX, number, 16.0 * slow, p50_ms=0.2),
            sample(PLAIN_AIOHTTP, number, 40.0 * slow, 280.0, p50_ms=0.5),
            sample(GOODPUT, number, goodput_us * slow, 100.0, p50_ms=0.22),
        ]
    return report.Results(samples)


@pytest.mark.parametrize(
    ("share", "expected"), [(0.5, 50), (0.99, 99), (0.999, 100), (1.0, 100), (0.001, 1)]
)
def test_percentile_is_the_nearest_rank(share: float, expected: int) -> None:
    """A percentile is a value that occurred, at the rank that the definition names."""
    assert percentile(list(range(1, 101)), share) == expected


def test_ratio_is_taken_within_a_round() -> None:
    """A round on a slow machine slows both sides: its ratio is as good as any other."""
    ratio = four_peers(18.0).ratio(GOODPUT, NGINX, report.token_cpu_us)

    assert ratio == report.Spread(1.125, 1.125, 1.125)


def test_spread_keeps_median_and_both_ends() -> None:
    """One slow round moves the upper end and not the median."""
    spread = four_peers(18.0).spread(GOODPUT, report.token_cpu_us)

    assert spread == report.Spread(18.0, 18.0, 36.0)


def test_added_latency_is_over_the_direct_connection() -> None:
    """What a proxy adds is its latency minus that of no proxy."""
    results = four_peers(18.0)
    added = results.added(GOODPUT, report.token_p50_ms)

    assert added is not None
    assert added.median == pytest.approx(0.12)


@pytest.mark.parametrize(
    ("goodput_us", "verdicts"),
    [(18.0, ["PASS", "PASS"]), (21.0, ["FAIL", "PASS"]), (23.0, ["FAIL", "FAIL"])],
)
def test_budget_is_judged_by_must(goodput_us: float, verdicts: list[str]) -> None:
    """1.25 of nginx and 0.55 of plain aiohttp are the limits of CPU per token."""
    checks = report.budget_checks(four_peers(goodput_us))

    assert [check.verdict for check in checks[:2]] == verdicts


def test_the_compiled_build_is_judged_where_there_is_one() -> None:
    """Both builds are rows; the budget is about the one that was built for speed."""
    pure = four_peers(23.0)
    assert report.judged_build(pure) == GOODPUT

    for number, slow in enumerate((1.0, 2.0, 1.0)):
        pure.by_peer.setdefault(GOODPUT_COMPILED, {})[number] = sample(
            GOODPUT_COMPILED, number, 18.0 * slow
        )
    assert [check.verdict for check in report.budget_checks(pure)[:2]] == ["PASS", "PASS"]
    assert "Budget, of goodput-proxy compiled:" in report.render({}, PLAN, pure, {}, {})


def test_a_missing_proxy_is_skipped_not_failed() -> None:
    """Where nginx is not installed nothing is claimed about it."""
    results = report.Results([sample(DIRECT, 0, 0.0), sample(GOODPUT, 0, 18.0)])
    by_name = {check.name: check for check in report.budget_checks(results)}

    assert by_name["CPU per token / nginx"].verdict == "SKIP"
    assert "not measured" in by_name["CPU per token / nginx"].line()


def test_a_saturated_harness_fails_the_run() -> None:
    """Figures from a harness that is the bottleneck are not believed."""
    busy = sample(DIRECT, 0, 0.0, p50_ms=3.0)
    checks = report.harness_checks(report.Results([busy]))

    assert [check.verdict for check in checks] == ["PASS", "FAIL", "INFO"]


def test_table_has_a_row_per_proxy() -> None:
    """The report is Markdown: as many cells in each row as in the head."""
    results = four_peers(18.0)
    rows = report.table(results).splitlines()

    assert [row.split("|")[1].strip() for row in rows[2:]] == [
        DIRECT,
        NGINX,
        PLAIN_AIOHTTP,
        GOODPUT,
    ]
    assert {row.count("|") for row in rows} == {rows[0].count("|")}
    assert "18.0 (18.0-36.0) | 1.12 |  | 0.45 |" in rows[5]


def test_report_names_machine_load_and_what_was_skipped() -> None:
    """A figure without its circumstances is worth nothing."""
    costs = {GOODPUT: {form.name: 1.5 for form in FORMATS}}
    costs[GOODPUT_COMPILED] = {**costs[GOODPUT], "chat": 2.5}
    text = report.render(
        {"machine": "a machine"}, PLAN, four_peers(18.0), {"other": "not installed"}, costs
    )

    assert "- machine: a machine" in text
    assert "8 connections x 2 requests x 10 tokens at 100 tokens/s each" in text
    assert "- skipped other: not installed" in text
    assert "- PASS  CPU per token / nginx: 1.12 (must <= 1.25, aim <= 1.00)" in text
    assert "| chat | 2.0 | 1.50 | 2.50 |" in text
    assert "- FAIL  us per record, chat: 2.50 (must <= 2.00)" in text
    assert "- PASS  us per record, ollama: 1.50 (must <= 2.00)" in text


def test_token_chunk_has_the_size_of_a_real_delta() -> None:
    """A vLLM chat delta is about 260 bytes on the wire, and the stamp is inside its text."""
    assert 250 <= TOKEN_CHUNK_BYTES <= 280
    assert STAMP_PREFIX.startswith(b'"content":"')
    assert len(str(time.monotonic_ns())) <= STAMP_DIGITS


def test_request_is_what_an_sdk_sends() -> None:
    """Head, length and a JSON body that says whether to stream."""
    head, _, body = request_bytes(PLAN.stream).partition(b"\r\n\r\n")

    assert f"Content-Length: {len(body)}".encode() in head
    assert json.loads(body)["stream"] is True
    assert json.loads(body)["max_tokens"] == 10


def test_cpu_clock_agrees_with_proc_stat() -> None:
    """The nanosecond clock and the 10 ms counters of the kernel are the same time."""
    end = time.process_time() + 0.1
    while time.process_time() < end:
        pass
    ticks_s = sum(process.user_system_ticks(os.getpid())) / os.sysconf("SC_CLK_TCK")

    assert process.cpu_ns(os.getpid()) / 1e9 == pytest.approx(ticks_s, abs=0.05)
    assert process.peak_rss_bytes(os.getpid()) >= process.rss_bytes(os.getpid()) > 10**6


def test_smoke_run_measures_and_ends_what_it_started() -> None:
    """Two rows, every token seen, plausible figures, no process left behind."""
    needs_two_cores()
    before = process.children(os.getpid())
    peers = [peer for peer in PEERS if peer.name in {DIRECT, PLAIN_AIOHTTP}]
    direct, plain = run_rounds(peers, PLAN, lambda _line: None)

    assert (direct.peer, plain.peer) == (DIRECT, PLAIN_AIOHTTP)
    assert direct.stream.cpu_us_per_unit == 0
    assert 5 < plain.stream.cpu_us_per_unit < 5_000
    assert 20 < plain.small.cpu_us_per_unit < 20_000
    assert 0 < direct.stream.p50_ms <= direct.stream.p99_ms <= direct.stream.max_ms
    assert 10 < plain.rss_idle_mb <= plain.rss_peak_mb < 500
    assert process.children(os.getpid()) == before


def test_proxy_that_does_not_start_is_reported_with_its_output() -> None:
    """What a peer printed before it ended is in the error."""
    needs_two_cores()
    broken = Peer(
        name="broken",
        missing=lambda: None,
        version=lambda: "",
        command=lambda _site: ["sh", "-c", "echo no such option; exit 3"],
        workers=lambda _pid: [],
    )

    with pytest.raises(BenchError, match=r"broken ended\nno such option"):
        run_rounds([broken], PLAN, lambda _line: None)


def test_the_meter_is_measured_in_every_format() -> None:
    """Each format is inference, is read without a fault, and costs something."""
    for form in FORMATS:
        assert 0 < measure_us(form, rounds=1) < 1000
