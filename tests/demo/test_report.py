"""The terminal shows rows, the picture and the comparison, in colour only where that is seen."""

from __future__ import annotations

import io
import re
from collections import Counter
from typing import Any

import pytest

from goodput_proxy.demo.outcome import Outcome, Sample, Spread
from goodput_proxy.demo.records import CUT, ClientRecord, recount
from goodput_proxy.demo.report import Report
from goodput_proxy.demo.verdicts import Verdicts

MS = 1_000_000
LIMITS = (500 * MS, 100 * MS)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


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
    return ClientRecord(**{**fields, "status": 200, "ok": True, **changes})


def outcome(records: list[ClientRecord], *, good: int, slow: int = 0, near: int = 0) -> Outcome:
    total = Verdicts(Counter({("good", ""): good, ("slow", "ttft"): slow}))
    samples = [sample(1.0, good, 0), sample(2.0, 0, slow)]
    return Outcome(samples, records, total, recount(records, *LIMITS, 2.0), near, 25 * MS)


def lines_of(out: io.StringIO) -> list[str]:
    return out.getvalue().splitlines()


def test_opening_names_the_addresses() -> None:
    """One can copy an address, a command and two expressions from the first lines."""
    out = io.StringIO()
    Report(out, *LIMITS).opening("http://127.0.0.1:1", "http://127.0.0.1:2")
    text = out.getvalue()
    assert "http://127.0.0.1:1/v1" in text
    assert "curl -s http://127.0.0.1:2/metrics" in text
    assert "sum(rate(goodput_slo_compliant_requests_total[1m]))" in text
    assert "TTFT ≤ 500ms and ITL ≤ 100ms" in text


def test_row() -> None:
    """A row has time, users, both rates, the ratio, latencies, and why requests were not good."""
    out = io.StringIO()
    Report(out, *LIMITS).row(sample(12.0, good=6, slow=2))
    assert lines_of(out)[-1] == (
        "   12s     12         8.0      6.0   75%  ████████░░"
        "    52ms /  3.92s   5.3ms /   88ms  slow:ttft 2"
    )


def test_row_without_answers() -> None:
    """An interval in which nothing ended has neither ratio nor latencies."""
    out = io.StringIO()
    Report(out, *LIMITS).row(sample(0.25, 0, 0, seconds=0.25, ttft=None, itl=None))
    assert lines_of(out)[-1] == (
        "  0.2s     12         0.0      0.0     -                   - /      -       - /      -"
    )


def test_columns_stand_below_their_headers() -> None:
    """The header's columns end where the row's do."""
    out = io.StringIO()
    Report(out, *LIMITS).row(sample(12.0, good=6, slow=2))
    _, header, _, row = lines_of(out)
    for name, value in [("time", "12s"), ("users", "12 "), ("goodput", "6.0"), ("p95", "3.92s")]:
        end = header.index(name) + len(name)
        assert row[:end].rstrip().endswith(value.rstrip()), name


def test_header_comes_again() -> None:
    """After a screenful of rows one still knows what the columns are."""
    out = io.StringIO()
    report = Report(out, *LIMITS)
    for at_s in range(41):
        report.row(sample(float(at_s), 1, 0))
    assert sum("throughput" in line for line in lines_of(out)) == 3


def test_closing_makes_the_point() -> None:
    """The picture, the claim about HTTP 200, both courses, and the comparison."""
    out = io.StringIO()
    records = [record()] * 8 + [record(ttft_ns=900 * MS)] * 8
    Report(out, *LIMITS).closing(outcome(records, good=8, slow=8))
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
    Report(out, *LIMITS).closing(outcome(records, good=2, near=1))
    text = out.getvalue()
    assert "1 of 2 answers were HTTP 200." in text
    assert "1 more were still being waited for" in text
    assert "They differ by 1; 1 of 3 requests were within 25ms of a limit" in text
    assert "overloaded" not in text


def test_closing_doubts_itself() -> None:
    """A difference that the clocks do not explain is called one."""
    out = io.StringIO()
    Report(out, *LIMITS).closing(outcome([record()], good=3))
    assert "They differ by 2; 0 of 1 requests" in out.getvalue()
    assert "That does not explain it" in out.getvalue()


def test_closing_without_a_single_request() -> None:
    """A run that was stopped at once says so."""
    out = io.StringIO()
    Report(out, *LIMITS).closing(outcome([], good=0))
    assert lines_of(out)[-1] == "Nothing was measured."


@pytest.mark.parametrize(
    ("out", "no_color", "coloured"),
    [(Terminal(), False, True), (Terminal(), True, False), (io.StringIO(), False, False)],
)
def test_colour_is_for_terminals(
    out: io.StringIO, monkeypatch: pytest.MonkeyPatch, *, no_color: bool, coloured: bool
) -> None:
    """No escape sequence in a file or against NO_COLOR; the words are the same."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    if no_color:
        monkeypatch.setenv("NO_COLOR", "1")
    report = Report(out, *LIMITS)
    report.row(sample(1.0, 6, 2))
    report.closing(outcome([record()], good=1))
    text = out.getvalue()
    assert ("\033[" in text) is coloured
    assert "Every one of the 1 answers" in re.sub(r"\033\[\d+m", "", text)


def test_terminal_without_unicode() -> None:
    """Where blocks cannot be encoded everything is ASCII."""
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, encoding="ascii")
    report = Report(out, *LIMITS)
    report.opening("http://127.0.0.1:1", "http://127.0.0.1:2")
    report.row(sample(1.0, 6, 2))
    report.draining(3)
    report.closing(outcome([record()], good=1))
    out.flush()
    assert b"TTFT <= 500ms" in raw.getvalue()
    assert b"########.." in raw.getvalue()
