"""What a client sees of one streamed answer, and the textbook arithmetic over many of them.

Owns the client's side of the definitions (TTFT, ITL, E2E as in AIPerf: from the request's start to
the first content, the mean gap between first and last content, and from the start to the last
content; stall is the longest gap) and the goodput formula. Pure: bytes and times come in as
arguments. It must share no code with the proxy, whose counts it is there to check.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

# Inside a JSON string a quote is escaped, so this cannot occur within generated text.
_CONTENT = b'"content":"'
_USAGE = b'"usage":{'
_ERROR = b'"error":{'
_DONE = b"data: [DONE]"

CUT = "cut"
"""The error of a request that its own client gave up when the demonstration was stopped."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a request has to keep to; None is no limit."""

    ttft_ns: int = 500_000_000
    itl_ns: int = 100_000_000
    stall_ns: int | None = None

    def scaled(self, factor: float) -> Limits:
        """Return the same limits for a server that is as many times as slow."""
        stall_ns = None if self.stall_ns is None else round(self.stall_ns * factor)
        return Limits(round(self.ttft_ns * factor), round(self.itl_ns * factor), stall_ns)


@dataclass(frozen=True, slots=True)
class ClientRecord:
    """One request as its client measured it; times that were never reached are None."""

    start_ns: int
    ttft_ns: int | None
    itl_ns: float | None
    e2e_ns: int | None
    output_tokens: int
    status: int
    ok: bool
    error: str = ""
    stall_ns: int | None = None
    content_records: int = 0

    def meets(self, limits: Limits) -> bool:
        """Whether the request was answered within all limits; one token has no gap to miss one."""
        return (
            self.ok
            and self.ttft_ns is not None
            and self.ttft_ns <= limits.ttft_ns
            and (self.itl_ns is None or self.itl_ns <= limits.itl_ns)
            and (
                self.stall_ns is None or limits.stall_ns is None or self.stall_ns <= limits.stall_ns
            )
        )


class _Usage(msgspec.Struct):
    completion_tokens: int


class _UsageRecord(msgspec.Struct):
    usage: _Usage


class AnswerReader:
    """Reads the stream of one answer; every record gets the time of the read that completed it."""

    def __init__(self, start_ns: int) -> None:
        self._start_ns = start_ns
        self._rest = b""
        self._first_ns: int | None = None
        self._last_ns: int | None = None
        self._stall_ns: int | None = None
        self._content_records = 0
        self._usage_tokens: int | None = None
        self._done = False
        self._failed = False

    def feed(self, chunk: bytes, now_ns: int) -> None:
        """Take what one network read brought."""
        *records, self._rest = (self._rest + chunk).split(b"\n\n")
        for record in records:
            self._read(record, now_ns)

    def finish(self, status: int, error: str = "") -> ClientRecord:
        """Return what was measured, once the answer has ended or the attempt has failed."""
        if not error and self._failed:
            error = "stream_error"
        if not error and status == 200 and not (self._done and self._first_ns):
            error = "truncated"
        tokens = self._content_records if self._usage_tokens is None else self._usage_tokens
        ttft_ns = itl_ns = e2e_ns = None
        if self._first_ns is not None and self._last_ns is not None:
            ttft_ns = self._first_ns - self._start_ns
            e2e_ns = self._last_ns - self._start_ns
            if tokens > 1:
                itl_ns = (self._last_ns - self._first_ns) / (tokens - 1)
        ok = status == 200 and not error
        return ClientRecord(
            start_ns=self._start_ns,
            ttft_ns=ttft_ns,
            itl_ns=itl_ns,
            e2e_ns=e2e_ns,
            output_tokens=tokens,
            status=status,
            ok=ok,
            error=error,
            stall_ns=self._stall_ns,
            content_records=self._content_records,
        )

    def _read(self, record: bytes, now_ns: int) -> None:
        at = record.find(_CONTENT)
        if at >= 0 and record[at + len(_CONTENT)] != ord('"'):
            if self._last_ns is None:
                self._first_ns = now_ns
            else:
                self._stall_ns = max(self._stall_ns or 0, now_ns - self._last_ns)
            self._last_ns = now_ns
            self._content_records += 1
        elif record == _DONE:
            self._done = True
        elif _USAGE in record:
            usage = msgspec.json.decode(record.removeprefix(b"data: "), type=_UsageRecord).usage
            self._usage_tokens = usage.completion_tokens
        elif _ERROR in record:
            self._failed = True


@dataclass(frozen=True, slots=True)
class Recount:
    """Goodput and throughput of a set of requests by the textbook formula."""

    good: int
    completed: int
    failed: int
    goodput_rps: float
    throughput_rps: float

    @property
    def slow(self) -> int:
        """Requests that were answered, but not in time."""
        return self.completed - self.good


def recount(records: Iterable[ClientRecord], limits: Limits, seconds: float) -> Recount:
    """Count a request when it is within all limits; divide by the time."""
    good = completed = failed = 0
    for record in records:
        if record.meets(limits):
            good += 1
        if record.ok:
            completed += 1
        elif record.error != CUT:
            failed += 1
    return Recount(good, completed, failed, good / seconds, completed / seconds)


def near_limit(records: Iterable[ClientRecord], limits: Limits, clock_error_ns: int) -> int:
    """Count the requests on which two observers may disagree, as their clocks differ by so much.

    For ITL the error is that of the time between first and last token, so it is spread over n - 1.
    """
    return sum(record.ok and _is_near(record, limits, clock_error_ns) for record in records)


def _is_near(record: ClientRecord, limits: Limits, clock_error_ns: int) -> bool:
    if record.ttft_ns is not None and abs(record.ttft_ns - limits.ttft_ns) <= clock_error_ns:
        return True
    if (
        record.stall_ns is not None
        and limits.stall_ns is not None
        and abs(record.stall_ns - limits.stall_ns) <= clock_error_ns
    ):
        return True
    if record.itl_ns is None:
        return False
    gaps = record.output_tokens - 1
    return abs(record.itl_ns - limits.itl_ns) * gaps <= clock_error_ns
