"""The terminal shows rows, the picture and the comparison, in colour only where that is seen."""

from __future__ import annotations

import io
from collections import Counter
from dataclasses import replace
from typing import Any, TextIO

from goodput_proxy.demo.knee import Band
from goodput_proxy.demo.outcome import Climb, Outcome, Sample, Spread, Totals
from goodput_proxy.demo.records import CUT, ClientRecord, Limits, recount
from goodput_proxy.demo.report import Report, smooth
from goodput_proxy.demo.scenarios import RAMP, SCENARIOS
from goodput_proxy.demo.terminal import Terminal
from goodput_proxy.demo.verdicts import Verdicts

MS = 1_000_000


def report_to(out: TextIO, name: str = "ramp") -> Report:
    return Report(Terminal(out), SCENARIOS[name])


def sample(at_s: float, good: int, slow: int, **changes: Any) -> Sample:
    fields: dict[str, Any] = {
        "at_s": at_s,
        "seconds": 1.0,
        "users": 12,
        "verdicts": Verdicts(Counter({("good", ""): good, ("slow", "ttft"): slow})),
        "ttft": Spread(52 * MS, 3_921 * MS),
        "itl": Spread(5.31 * MS, 88.4 * MS),
    }
    return Sample(**{**fields, **changes})


def record(**changes: Any) -> ClientRecord:
    fields = {"start_ns": 0, "ttft_ns": MS, "itl_ns": 1.0, "e2e_ns": MS, "output_tokens": 2}
    fields["content_records"] = 2
    return ClientRecord(**{**fields, "status": 200, "ok": True, **changes})


def outcome(records: list[ClientRecord], *, good: int, slow: int = 0, near: int = 0) -> Outcome:
    total = Verdicts(Counter({("good", ""): good, ("slow", "ttft"): slow}))
    samples = [sample(1.0, good, 0), sample(2.0, 0, slow)]
    return Outcome(samples, Totals(records, total, recount(records, Limits(), 2.0), near, 25 * MS))


def lines_of(out: io.StringIO) -> list[str]:
    return out.getvalue().splitlines()


def test_opening_names_the_addresses() -> None:
    """One can copy addresses, a command and two expressions, and knows what to look at."""
    out = io.StringIO()
    report_to(out).opening("http://127.0.0.1:1", "http://127.0.0.1:2")
    text = out.getvalue()
    assert text.startswith(f"ramp: {RAMP.story}.\n")
    assert "  live    http://127.0.0.1:2/\n" in text
    assert "look at it: throughput stays" in text
    assert "http://127.0.0.1:1/v1" in text
    assert "curl -s http://127.0.0.1:2/metrics" in text
    assert "sum(rate(goodput_slo_compliant_requests_total[1m]))" in text
    assert "TTFT ≤ 500ms and ITL ≤ 100ms" in text


def test_row() -> None:
    """A row has time, users, both rates, the ratio, latencies, and why requests were not good."""
    out = io.StringIO()
    report_to(out).row(sample(12.0, good=6, slow=2))
    assert lines_of(out)[-1] == (
        "   12s     12         8.0      6.0   75%  ████████░░"
        "    52ms /  3.92s   5.3ms /   88ms  slow:ttft 2"
    )


def test_row_without_answers() -> None:
    """An interval in which nothing ended has neither ratio nor latencies."""
    out = io.StringIO()
    report_to(out).row(sample(0.25, 0, 0, seconds=0.25, ttft=None, itl=None))
    assert lines_of(out)[-1] == (
        "  0.2s     12         0.0      0.0     -                   - /      -       - /      -"
    )


def test_columns_stand_below_their_headers() -> None:
    """The header's columns end where the row's do."""
    out = io.StringIO()
    report_to(out).row(sample(12.0, good=6, slow=2))
    _, header, _, row = lines_of(out)
    for name, value in [("time", "12s"), ("users", "12 "), ("goodput", "6.0"), ("p95", "3.92s")]:
        end = header.index(name) + len(name)
        assert row[:end].rstrip().endswith(value.rstrip()), name


def test_a_limit_of_stall_has_its_column() -> None:
    """Where the longest pause is promised, it is shown."""
    out = io.StringIO()
    report_to(out, "spec-decode").row(sample(12.0, good=6, slow=2, stall=Spread(MS, 300 * MS)))
    _, header, _, row = lines_of(out)
    assert row.endswith("   5.3ms /   88ms     1ms /  300ms  slow:ttft 2")
    assert header.index("stall p50 / p95") + len("stall p50 / p95") == row.index("300ms") + 5


def test_small_rates_have_two_decimals() -> None:
    """The first of them may be a zero."""
    out = io.StringIO()
    report_to(out).row(sample(10.0, good=1, slow=90, seconds=100.0))
    assert "        0.91     0.01    1%  ░░░░░░░░░░" in lines_of(out)[-1]


def test_the_picture_smooths_seconds_and_no_minutes() -> None:
    """Lumps of a second are evened out; rows of ten seconds stand for themselves."""
    fast = smooth([sample(float(at_s), at_s % 2 * 4, 0) for at_s in range(1, 15)])
    assert all(1 < point.goodput_rps < 3 for point in fast)
    slow = smooth([sample(at_s * 10.0, at_s % 2 * 4, 0) for at_s in range(1, 15)])
    assert {point.goodput_rps for point in slow} == {0, 4}


def test_header_comes_again() -> None:
    """After a screenful of rows one still knows what the columns are."""
    out = io.StringIO()
    report = report_to(out)
    for at_s in range(41):
        report.row(sample(float(at_s), 1, 0))
    assert sum("throughput" in line for line in lines_of(out)) == 3


def test_closing_makes_the_point() -> None:
    """The picture, the claim about HTTP 200, both courses, and the comparison."""
    out = io.StringIO()
    records = [record()] * 8 + [record(ttft_ns=900 * MS)] * 8
    report_to(out).closing(outcome(records, good=8, slow=8))
    text = out.getvalue()
    assert "█" in text
    assert "░" in text
    assert "Every one of the 16 answers was HTTP 200." in text
    assert "goodput     peak   8.0 req/s, at the end   0.0 req/s: 0% of its peak" in text
    assert "throughput  peak   8.0 req/s, at the end   8.0 req/s: 100% of its peak" in text
    assert "proxy, from /metrics      8       8       0" in text
    assert "recount by clients        8       8       0" in text
    assert "They agree exactly; 0 of 16 requests were within 25ms of a limit" in text


def test_closing_hides_nothing() -> None:
    """Errors, cut requests and a difference between the counts are said, not smoothed over."""
    out = io.StringIO()
    records = [record(), record(ok=False, status=503), record(ok=False, error=CUT)]
    report_to(out).closing(outcome(records, good=2, near=1))
    text = out.getvalue()
    assert "1 of 2 answers were HTTP 200." in text
    assert "1 more were still being waited for" in text
    assert "They differ by 1; 1 of 3 requests were within 25ms of a limit" in text
    assert "overloaded" not in text


def test_closing_doubts_itself() -> None:
    """A difference that the clocks do not explain is called one."""
    out = io.StringIO()
    report_to(out).closing(outcome([record()], good=3))
    assert "They differ by 2; 0 of 1 requests" in out.getvalue()
    assert "That does not explain it" in out.getvalue()


def test_closing_without_a_single_request() -> None:
    """A run that was stopped at once says so."""
    out = io.StringIO()
    report_to(out).closing(outcome([], good=0))
    assert lines_of(out)[-1] == "Nothing was measured."


def test_all_after_the_warm_up_is_a_row() -> None:
    """A scenario that settles ends with the averages of what came after that."""
    out = io.StringIO()
    settled = sample(120.0, good=1, slow=90, seconds=100.0, users=24)
    finished = replace(outcome([record()], good=1), settled=settled)
    report_to(out, "overload").closing(finished)
    lines = lines_of(out)
    at = lines.index("All that was answered after the warm-up, from 20s to 120s:")
    assert lines[at + 2].startswith("   all     24        0.91     0.01    1%")


def test_faults_stand_beside_what_was_found() -> None:
    """What the server did on purpose, cause by cause, and what the proxy made of it."""
    out = io.StringIO()
    finished = outcome([record()], good=1)
    counts = Counter({("good", ""): 1, ("error", "http_429"): 3, ("error", "truncated"): 1})
    faults = {"http_429": 3, "truncated": 2}
    totals = replace(finished.totals, faults=faults, verdicts=Verdicts(counts))
    report_to(out).closing(replace(finished, totals=totals))
    assert lines_of(out)[-3:] == [
        "                             http_429     truncated",
        "  failed on purpose                 3             2",
        "  proxy, from /metrics              3             1",
    ]


def test_records_are_no_tokens() -> None:
    """Where records hold several tokens, both ITLs are told."""
    out = io.StringIO()
    answer = record(output_tokens=61, content_records=21, ttft_ns=MS, e2e_ns=1801 * MS)
    report_to(out).closing(outcome([answer], good=1))
    assert lines_of(out)[-2:] == [
        "  An answer has 61.0 tokens in 21.0 records.",
        "  ITL by tokens is 30ms; who takes records for tokens gets 90ms.",
    ]


def climb(*, knee_of_proxy: int = 2) -> Climb:
    levels = [sample(1.0, 8, 0, users=1), sample(2.0, 9, 0, users=2), sample(3.0, 1, 8, users=4)]
    bands = [Band(1, 8, 8), Band(2, 9, 9), Band(4, 9, 9 if knee_of_proxy == 4 else 1)]
    return Climb(levels, outcome([record()], good=1).totals, bands)


def test_a_sweep_is_a_table_and_a_picture() -> None:
    """What is done, a row for each level, bars, and both knees."""
    out = io.StringIO()
    report, sweep = report_to(out), climb()
    report.climbing([1, 2, 4], 6.0)
    for level in sweep.levels:
        report.level(level)
    report.summit(sweep)
    text = out.getvalue()
    assert "A sweep: 1, 2 and 4 users, each for 6s" in text
    assert "      4         9.0      1.0   11%" in text
    assert "▲ from here on the promise is broken" in text
    assert "    this sweep                      2 at once\n" in text
    assert "    goodput_load_requests_total     2 at once, the proxy's own count\n" in text
    assert "    They agree.\n" in text
    assert "recount by clients" in text


def test_a_sweep_says_when_the_knees_differ() -> None:
    """And why they may."""
    out = io.StringIO()
    report_to(out).summit(climb(knee_of_proxy=4))
    assert "    They differ: the proxy counts the warm-ups as well" in out.getvalue()


def test_a_sweep_that_was_stopped_at_once() -> None:
    """There is nothing to draw."""
    out = io.StringIO()
    report_to(out).summit(replace(climb(), levels=[]))
    assert lines_of(out)[-1] == "Nothing was measured."


def test_terminal_without_unicode() -> None:
    """Where blocks cannot be encoded everything is ASCII."""
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, encoding="ascii")
    report = report_to(out)
    report.opening("http://127.0.0.1:1", "http://127.0.0.1:2")
    report.row(sample(1.0, 6, 2))
    report.draining(3)
    report.closing(outcome([record()], good=1))
    out.flush()
    assert b"TTFT <= 500ms" in raw.getvalue()
    assert b"########.." in raw.getvalue()
