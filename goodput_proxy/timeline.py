"""When the tokens of one request passed, and what follows from that.

This file owns the definitions. All times are integer nanoseconds of one monotonic clock and
enter as arguments; limits, labels and sockets are unknown here.

  t0     the request head has been read by the proxy.
  token  a record that shows newly generated output (`stream.events.TokenEvent`). Its time is
         that of the network read which completed the record, as in AIPerf; records completed
         by one read share it.
  TTFT   first token of any choice - t0. Not the response head (vLLM sends it before prefill)
         and not the first record (which may carry a role and nothing else).
  E2E    last token - t0; for an answer that is not streamed, last body byte - t0.
  ITL    (last token - first token) / (n - 1), one number per request: AIPerf's
         `inter_token_latency`, which vLLM, SGLang and MLPerf call TPOT. With several choices
         the sum over choices of (last - first) / (n - choices that started), which is the
         same formula for one.
  ICL    one gap between consecutive tokens of a choice: AIPerf's `inter_chunk_latency`.
         Chunks are not tokens: servers bundle.
  stall  the largest ICL.
  n      output tokens, from the best source that the stream had (`TokenSource`).

A closing record whose only evidence is an invisible end token counts towards n and does not
move the last time: AIPerf sees text only, and so its E2E and ITL end at the same record.

Gaps are not kept, since a stream may have 10^5 of them: they are counted into the buckets
`edges_ns` as they come. Of the tokens' times a sample is kept for the eye: every one at first, and
every second of those each time that there are more than `MAX_TICKS`.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from typing import Final

from .faults import MeterFault
from .record import CancelPhase, End, Gaps, Outcome, RequestRecord
from .stream.events import (
    MAX_CHOICES,
    CounterEvent,
    EndsAtCloseEvent,
    ErrorEvent,
    Event,
    FinishEvent,
    TerminatorEvent,
    TokenEvent,
    TokenSource,
    UsageEvent,
)

# Finish reasons by which a server says that it gave up; `length`, `content_filter` and
# `repetition` are complete answers.
_GAVE_UP: Final = frozenset(("abort", "error", "parse_error", "preempt"))
# Finish reasons of Ollama by which a server says that it was asked for no output.
_NOTHING_ASKED: Final = frozenset(("load", "unload"))
# Records that could not be read although they were whole: they are no answer.
_NO_EXCUSE: Final = frozenset((MeterFault.BAD_JSON, MeterFault.UNEXPECTED_SHAPE))
# As many as a row of the live page is wide enough to show apart.
MAX_TICKS: Final = 128


@dataclass(slots=True)
class _Choice:
    first_ns: int = -1  # -1: no token yet
    last_ns: int = -1
    events: int = 0
    ids: int = 0
    logprobs: int = 0
    counter: CounterEvent | None = None  # the last one
    finish: str = ""


class Timeline:
    """Collect the events of one response.

    Args:
        t0_ns: when the request head had been read.
        edges_ns: ascending upper edges of the ICL buckets.
    """

    __slots__ = (
        "_choices",
        "_counts",
        "_edges_ns",
        "_ends_at_close",
        "_error",
        "_gap_sum_ns",
        "_input_tokens",
        "_stall_ns",
        "_t0_ns",
        "_terminated",
        "_tick_every",
        "_ticks",
        "_ticks_seen",
        "_ticks_taken",
        "_totals",
        "_unclassified",
        "opaque",
        "streamed",
    )

    def __init__(self, t0_ns: int, edges_ns: tuple[int, ...]) -> None:
        self._t0_ns = t0_ns
        self._edges_ns = edges_ns
        self._choices: dict[int, _Choice] = {}
        self._counts = [0] * (len(edges_ns) + 1)
        self._gap_sum_ns = 0
        self._stall_ns = -1
        self._totals: dict[TokenSource, int] = {}
        self._input_tokens: int | None = None
        self._error = False
        self._terminated = False
        self._ends_at_close = False
        self._unclassified: dict[MeterFault, int] = {}
        self._ticks: list[int] = []
        self._ticks_seen = 0  # of which those in `_ticks` were taken, up to `_ticks_taken`
        self._ticks_taken = 0
        self._tick_every = 1
        self.opaque = False  # the bytes are the output: audio
        self.streamed = False  # an answer that comes in one piece has no token times

    @property
    def complete(self) -> bool:
        """Whether the server said all: a terminator, or a finish for each choice that began."""
        if self._terminated:
            return True
        return bool(self._choices) and all(c.finish for c in self._choices.values())

    def add(self, event: Event, now_ns: int) -> None:
        """Take one event of a record that was complete at `now_ns`."""
        match event:
            case TokenEvent():
                self._add_tokens(event, [now_ns])
            case FinishEvent():
                self._finish(self._choice(event.choice), event.reason)
            case CounterEvent():
                self._choice(event.choice).counter = event
                self._note_input(event.input_tokens)
            case UsageEvent():
                self._add_usage(event)
            case TerminatorEvent():
                self._terminated = True
            case EndsAtCloseEvent():
                self._ends_at_close = True
            case ErrorEvent():
                self._error = True
            case _:
                known = self._unclassified.get(event.reason, 0)
                self._unclassified[event.reason] = known + 1

    def add_run(self, events: list[Event], times_ns: list[int]) -> None:
        """Take a token that came as often as there are times, and what was said beside it at last.

        Counters and totals replace those before them, so that only the newest matter.
        """
        for event in events:
            if isinstance(event, TokenEvent):
                self._add_tokens(event, times_ns)
            else:
                self.add(event, times_ns[-1])

    def record(
        self,
        *,
        status: int | None,
        end: End,
        end_ns: int,
        last_byte_ns: int | None,
        generates: bool = True,
        stream_asked: bool = True,
    ) -> RequestRecord:
        """Sum the request up when its exchange has ended.

        Args:
            status: the response's status, None when no response head came.
            end: how the exchange ended.
            end_ns: when.
            last_byte_ns: the last body byte's arrival, None when there was no body.
            generates: False when the request asked for no output.
            stream_asked: False when the request asked for its answer in one piece.
        """
        begun = [c for c in self._choices.values() if c.first_ns >= 0]
        n, source = self._count_tokens()
        streamed = self.streamed and bool(begun)
        ttft_ns = e2e_ns = itl_ns = None
        waiting_since_ns = self._t0_ns
        if streamed:
            waiting_since_ns = max(c.last_ns for c in begun)
            ttft_ns = min(c.first_ns for c in begun) - self._t0_ns
            e2e_ns = waiting_since_ns - self._t0_ns
            if n > len(begun):
                itl_ns = sum(c.last_ns - c.first_ns for c in begun) // (n - len(begun))
        elif not self.streamed and last_byte_ns is not None:
            e2e_ns = last_byte_ns - self._t0_ns
        unread = self._unclassified.keys() - _NO_EXCUSE
        empty = last_byte_ns is None or not (begun or n or unread or self.opaque)
        control = not begun and any(c.finish in _NOTHING_ASKED for c in self._choices.values())
        left = end is End.CLIENT_LEFT
        self._thin_ticks()
        return RequestRecord(
            outcome=self._outcome(status, end, empty=generates and empty and not control),
            elapsed_ns=end_ns - self._t0_ns,
            ttft_ns=ttft_ns,
            itl_ns=itl_ns,
            stall_ns=self._stall_ns if self._stall_ns >= 0 else None,
            e2e_ns=e2e_ns,
            waiting_ns=end_ns - waiting_since_ns,
            awaits_token=not begun and (stream_asked if status is None else self.streamed),
            output_tokens=n,
            input_tokens=self._input_tokens,
            token_source=source,
            gaps=Gaps(tuple(self._counts), self._gap_sum_ns, self._edges_ns),
            cancel_phase=self._cancel_phase(status, begun=bool(begun)) if left else None,
            t0_ns=self._t0_ns,
            token_times_ns=tuple(self._ticks),
            control=control,
            unclassified=self._unclassified,
        )

    def _choice(self, index: int) -> _Choice:
        place = index % MAX_CHOICES
        choice = self._choices.get(place)
        if choice is None:
            choice = self._choices[place] = _Choice()
        return choice

    def _add_tokens(self, event: TokenEvent, times_ns: list[int]) -> None:
        choice = self._choice(event.choice)
        choice.events += len(times_ns)
        choice.ids += event.ids * len(times_ns)
        choice.logprobs += event.logprobs * len(times_ns)
        if choice.first_ns < 0:
            choice.first_ns = choice.last_ns = times_ns[0]
            self._ticks.append(times_ns[0])
            times_ns = times_ns[1:]
        if event.hidden:
            return
        ticks = self._ticks
        ticks += times_ns
        if len(ticks) > 2 * MAX_TICKS:
            self._thin_ticks()
        last_ns, stall_ns, edges_ns, counts = (
            choice.last_ns,
            self._stall_ns,
            self._edges_ns,
            self._counts,
        )
        bucket, low_ns, high_ns = 0, 0, -1  # most gaps fall where the one before fell
        for now_ns in times_ns:
            gap_ns = now_ns - last_ns
            last_ns = now_ns
            if gap_ns > high_ns or gap_ns <= low_ns:
                bucket = bisect_left(edges_ns, gap_ns)
                low_ns = edges_ns[bucket - 1] if bucket else -1
                high_ns = edges_ns[bucket] if bucket < len(edges_ns) else gap_ns
            counts[bucket] += 1
            stall_ns = max(stall_ns, gap_ns)
        self._stall_ns = stall_ns
        self._gap_sum_ns += last_ns - choice.last_ns
        choice.last_ns = last_ns

    def _thin_ticks(self) -> None:
        """Take as many of the times since the last call as were taken of those before it."""
        ticks, every = self._ticks, self._tick_every
        fresh = ticks[self._ticks_taken :]
        ticks[self._ticks_taken :] = fresh[-self._ticks_seen % every :: every]
        self._ticks_seen += len(fresh)
        while len(ticks) > MAX_TICKS:
            del ticks[1::2]
            self._tick_every *= 2
        self._ticks_taken = len(ticks)

    @staticmethod
    def _finish(choice: _Choice, reason: str) -> None:
        # Some servers use an index again, and the second answer does not undo a failure.
        if choice.finish not in _GAVE_UP:
            choice.finish = reason

    def _note_input(self, tokens: int | None) -> None:
        if tokens is not None:
            self._input_tokens = tokens

    def _add_usage(self, event: UsageEvent) -> None:
        self._note_input(event.input_tokens)
        if event.output_tokens is not None:
            self._totals[event.source] = event.output_tokens

    def _count_tokens(self) -> tuple[int, TokenSource]:
        choices = self._choices.values()
        shown = any(c.events for c in choices)
        for source, total in self._totals.items():
            # A total of zero beside tokens that were seen is a server's default, and no count.
            if source is not TokenSource.TIMINGS and (total or not shown):
                return total, source
        counters = [c.counter for c in choices if c.counter is not None]
        if counters:
            return sum(c.output_tokens for c in counters), counters[0].source
        if TokenSource.TIMINGS in self._totals:
            return self._totals[TokenSource.TIMINGS], TokenSource.TIMINGS
        if ids := sum(c.ids for c in choices):
            return ids, TokenSource.TOKEN_IDS
        if logprobs := sum(c.logprobs for c in choices):
            return logprobs, TokenSource.LOGPROBS
        return sum(c.events for c in choices), TokenSource.EVENTS

    def _outcome(self, status: int | None, end: End, *, empty: bool) -> Outcome:
        if status is None:
            return _WITHOUT_HEAD[end]
        if not 200 <= status < 300:
            return _of_status(status)
        if self._error or any(c.finish in _GAVE_UP for c in self._choices.values()):
            return Outcome.STREAM_ERROR
        if end is End.TIMED_OUT:
            return Outcome.TIMEOUT
        if end is End.CUT:
            return Outcome.TRUNCATED
        if end is End.CLIENT_LEFT and not self.complete:
            return Outcome.CLIENT
        if self.streamed and not (self.complete or self._ends_at_close):
            return Outcome.TRUNCATED
        return Outcome.EMPTY if empty else Outcome.OK

    def _cancel_phase(self, status: int | None, *, begun: bool) -> CancelPhase:
        if status is None:
            return CancelPhase.BEFORE_HEADERS
        if self.complete:
            return CancelPhase.AFTER_LAST_TOKEN
        return CancelPhase.BETWEEN_TOKENS if begun else CancelPhase.BEFORE_FIRST_TOKEN


_WITHOUT_HEAD: Final = {
    End.CLEAN: Outcome.TRUNCATED,
    End.CUT: Outcome.TRUNCATED,
    End.CLIENT_LEFT: Outcome.CLIENT,
    End.CONNECT_FAILED: Outcome.CONNECT,
    End.TIMED_OUT: Outcome.TIMEOUT,
}


def _of_status(status: int) -> Outcome:
    if status >= 500:
        return Outcome.HTTP_5XX
    if status == 429:
        return Outcome.HTTP_429
    if status == 408:
        return Outcome.HTTP_408
    return Outcome.HTTP_4XX  # a redirect, too, means that the caller has to ask differently
