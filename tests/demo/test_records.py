"""The client's arithmetic follows the textbook, on streams and records made by hand."""

from __future__ import annotations

from typing import Any

import pytest

from goodput_proxy.demo.records import (
    CUT,
    AnswerReader,
    ClientRecord,
    Limits,
    near_limit,
    recount,
)

MS = 1_000_000
ROLE = b'data: {"choices":[{"delta":{"role":"assistant","content":""}}]}\n\n'
TOKEN = b'data: {"choices":[{"delta":{"content":" a"}}]}\n\n'
QUOTE = b'data: {"choices":[{"delta":{"content":"\\"content\\":\\"\\""}}]}\n\n'
FINISH = b'data: {"choices":[{"delta":{"content":""},"finish_reason":"stop"}]}\n\n'
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":5}}\n\n'
ERROR = b'data: {"error":{"message":"out of memory"}}\n\n'
DONE = b"data: [DONE]\n\n"
LIMITS = Limits(500 * MS, 100 * MS, stall_ns=300 * MS)


def read(*reads: tuple[int, bytes], status: int = 200, error: str = "") -> ClientRecord:
    """Return the record of an answer that came in these reads, each at a time in ms."""
    reader = AnswerReader(start_ns=1000 * MS)
    for at_ms, chunk in reads:
        reader.feed(chunk, (1000 + at_ms) * MS)
    return reader.finish(status, error)


def record(ttft_ms: float, itl_ms: float | None = 10, **changes: Any) -> ClientRecord:
    fields: dict[str, Any] = {
        "start_ns": 0,
        "ttft_ns": round(ttft_ms * MS),
        "itl_ns": None if itl_ms is None else itl_ms * MS,
        "e2e_ns": 10**9,
        "output_tokens": 11,
        "status": 200,
        "ok": True,
    }
    return ClientRecord(**{**fields, **changes})


def test_times_are_those_of_first_and_last_content() -> None:
    """Role, finish, usage and terminator are no tokens; n comes from usage."""
    got = read((5, ROLE), (50, TOKEN), (60, TOKEN), (90, TOKEN), (99, FINISH + USAGE + DONE))
    assert got == ClientRecord(
        *(1000 * MS, 50 * MS, 40 * MS / 4, 90 * MS, 5, 200),
        ok=True,
        stall_ns=30 * MS,
        content_records=3,
    )


def test_content_records_are_counted_without_usage() -> None:
    """Without usage each content record is a token."""
    got = read((50, TOKEN), (60, TOKEN), (90, TOKEN + FINISH + DONE))
    assert (got.output_tokens, got.itl_ns) == (3, 20 * MS)


def test_one_token_has_no_itl() -> None:
    """There is no gap within a single token."""
    got = read((50, TOKEN + DONE))
    assert (got.ok, got.ttft_ns, got.itl_ns, got.e2e_ns) == (True, 50 * MS, None, 50 * MS)
    assert got.stall_ns is None


def test_generated_text_is_not_mistaken_for_structure() -> None:
    """Quotes in generated text are escaped, so that they count as text."""
    assert read((7, QUOTE + DONE)).ttft_ns == 7 * MS


def test_record_gets_the_time_of_the_read_that_completed_it() -> None:
    """Where the bytes are cut does not matter, only when the last one came."""
    stream = ROLE + TOKEN + TOKEN + FINISH + DONE
    reads = [(at, stream[at : at + 1]) for at in range(len(stream))]
    first = len(ROLE + TOKEN) - 1
    got = read(*reads)
    assert got.ttft_ns == first * MS
    assert got.e2e_ns == (first + len(TOKEN)) * MS
    assert got.ok


@pytest.mark.parametrize(
    ("reads", "status", "error", "expected"),
    [
        ([(5, TOKEN)], 200, "", "truncated"),
        ([(5, ROLE + DONE)], 200, "", "truncated"),
        ([], 200, "", "truncated"),
        ([(5, TOKEN + ERROR + DONE)], 200, "", "stream_error"),
        ([(5, TOKEN)], 200, CUT, CUT),
        ([], 503, "", ""),
        ([], 0, "ClientConnectorError", "ClientConnectorError"),
    ],
)
def test_failures(reads: list[tuple[int, bytes]], status: int, error: str, expected: str) -> None:
    """What does not end well is not ok, and says why."""
    got = read(*reads, status=status, error=error)
    assert (got.ok, got.status, got.error) == (False, status, expected)


def test_recount_is_the_textbook_formula() -> None:
    """Good is to be within all limits, inclusive; throughput is all that was ok."""
    records = [
        record(500, 100),
        record(499, None),
        record(500.1, 10),
        record(10, 100.1),
        record(900, 900),
        record(10, 10, stall_ns=300 * MS),
        record(10, 10, stall_ns=300 * MS + 1),
        record(10, 10, ok=False, status=200, error="truncated"),
        record(10, 10, ok=False, status=503),
        record(10, 10, ok=False, error=CUT),
    ]
    got = recount(records, LIMITS, seconds=2)
    assert (got.good, got.slow, got.completed, got.failed) == (3, 4, 7, 2)
    assert (got.goodput_rps, got.throughput_rps) == (1.5, 3.5)
    without = recount(records, Limits(500 * MS, 100 * MS), seconds=2)
    assert (without.good, without.slow) == (4, 3)


@pytest.mark.parametrize(
    ("one", "near"),
    [
        (record(474), 0),
        (record(475), 1),
        (record(525), 1),
        (record(526), 0),
        (record(10, 102.6), 0),  # ten gaps: 26 ms between first and last
        (record(10, 97.6), 1),
        (record(10, None), 0),
        (record(500, ok=False), 0),
        (record(10, stall_ns=276 * MS), 1),
        (record(10, stall_ns=274 * MS), 0),
    ],
)
def test_near_limit(one: ClientRecord, near: int) -> None:
    """Near is what a difference of clocks could put on the other side of a limit."""
    assert near_limit([one], LIMITS, clock_error_ns=25 * MS) == near


def test_limits_are_scaled_with_the_server() -> None:
    """What is no limit stays none."""
    assert LIMITS.scaled(0.1) == Limits(50 * MS, 10 * MS, 30 * MS)
    assert Limits().scaled(2) == Limits(1000 * MS, 200 * MS, None)
