"""The definitions: TTFT, ITL, ICL, stall, E2E, n, and what became of a request."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goodput_proxy.faults import MeterFault
from goodput_proxy.record import CancelPhase, End, Gaps, Outcome, RequestRecord
from goodput_proxy.stream.events import (
    MAX_CHOICES,
    CounterEvent,
    ErrorEvent,
    Event,
    FinishEvent,
    TerminatorEvent,
    TokenEvent,
    TokenSource,
    UnclassifiedEvent,
    UsageEvent,
)
from goodput_proxy.timeline import MAX_TICKS, Timeline

EDGES_NS = (10, 20, 50)
T0_NS = 1000
STOP = FinishEvent(0, "stop")


def measure(
    *events: tuple[int, Event],
    status: int | None = 200,
    end: End = End.CLEAN,
    end_ns: int = 9000,
    last_byte_ns: int | None = 8000,
    generates: bool = True,
    streamed: bool = True,
    stream_asked: bool = True,
) -> RequestRecord:
    """Return the record of a stream whose events come at these times after t0."""
    timeline = Timeline(T0_NS, EDGES_NS)
    timeline.streamed = streamed
    for at_ns, event in events:
        timeline.add(event, T0_NS + at_ns)
    return timeline.record(
        status=status,
        end=end,
        end_ns=end_ns,
        last_byte_ns=last_byte_ns,
        generates=generates,
        stream_asked=stream_asked,
    )


def test_one_choice() -> None:
    """TTFT runs to the first token, E2E to the last, ITL is their mean distance."""
    record = measure((200, TokenEvent()), (210, TokenEvent()), (250, TokenEvent()), (400, STOP))

    assert Outcome.OK is record.outcome
    assert record.ttft_ns == 200
    assert record.e2e_ns == 250
    assert record.itl_ns == 25
    assert record.stall_ns == 40
    assert Gaps((1, 0, 1, 0), 50, EDGES_NS) == record.gaps
    assert (record.output_tokens, record.token_source) == (3, TokenSource.EVENTS)
    assert record.elapsed_ns == 8000
    assert record.waiting_ns == 9000 - T0_NS - 250
    assert record.cancel_phase is None


def test_usage_makes_itl_a_mean_over_tokens() -> None:
    """Records may bundle tokens: the divisor is n - 1, not the number of records."""
    record = measure(
        *((at, TokenEvent()) for at in (200, 280, 360)), (360, STOP), (361, UsageEvent(12, 7))
    )

    assert record.itl_ns == 160 // 11
    assert record.stall_ns == 80
    assert (
        record.output_tokens,
        record.token_source,
        record.input_tokens,
    ) == (12, TokenSource.USAGE, 7)


def test_one_token_has_no_itl() -> None:
    """With n = 1 there is no time between tokens."""
    record = measure((200, TokenEvent()), (210, STOP), (220, UsageEvent(1)))

    assert (
        record.ttft_ns,
        record.e2e_ns,
        record.itl_ns,
        record.stall_ns,
    ) == (200, 200, None, None)


def test_several_choices() -> None:
    """ITL sums over choices and divides by tokens minus choices; gaps stay within a choice."""
    record = measure(
        (100, TokenEvent(0)),
        (150, TokenEvent(1)),
        (110, TokenEvent(0)),
        (190, TokenEvent(1)),
        (190, STOP),
        (190, FinishEvent(1, "stop")),
    )

    assert record.ttft_ns == 100
    assert record.e2e_ns == 190
    assert record.itl_ns == (10 + 40) // (4 - 2)
    assert record.stall_ns == 40
    assert Outcome.OK is record.outcome


def test_a_hidden_end_token_counts_and_does_not_move_the_end() -> None:
    """The end token that only an id shows belongs to n and not to E2E."""
    record = measure(
        (100, TokenEvent(ids=1)),
        (110, TokenEvent(ids=2)),
        (190, TokenEvent(ids=1, hidden=True)),
        (190, STOP),
    )

    assert record.e2e_ns == 110
    assert record.itl_ns == 10 // 3
    assert (record.output_tokens, record.token_source) == (4, TokenSource.TOKEN_IDS)


def test_tokens_of_one_read_share_its_time() -> None:
    """Records completed by one read have a gap of zero between them."""
    record = measure((100, TokenEvent()), (100, TokenEvent()), (100, STOP))

    assert (record.itl_ns, record.stall_ns) == (0, 0)


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        (
            [UsageEvent(9), CounterEvent(0, 5), UsageEvent(7, None, TokenSource.TIMINGS)],
            (9, TokenSource.USAGE),
        ),
        ([CounterEvent(0, 5), CounterEvent(1, 2)], (7, TokenSource.USAGE)),
        ([UsageEvent(7, None, TokenSource.TIMINGS), TokenEvent(ids=1)], (7, TokenSource.TIMINGS)),
        ([TokenEvent(ids=2, logprobs=1), TokenEvent(ids=1)], (3, TokenSource.TOKEN_IDS)),
        ([TokenEvent(logprobs=2), TokenEvent()], (2, TokenSource.LOGPROBS)),
        ([TokenEvent(), TokenEvent()], (2, TokenSource.EVENTS)),
        ([UsageEvent(None, 3), TokenEvent()], (1, TokenSource.EVENTS)),
        ([UsageEvent(0, 3), TokenEvent()], (1, TokenSource.EVENTS)),
        ([UsageEvent(0, 3)], (0, TokenSource.USAGE)),
        ([UsageEvent(None, None, TokenSource.TIMINGS), TokenEvent()], (1, TokenSource.EVENTS)),
    ],
)
def test_the_best_source_of_n(events: list[Event], expected: tuple[int, TokenSource]) -> None:
    """Usage beats counters beat timings beat ids beat logprobs beat records."""
    record = measure(*((100, event) for event in events))

    assert expected == (record.output_tokens, record.token_source)


def test_prompt_tokens_of_continuous_usage() -> None:
    """Continuous usage tells the prompt's tokens too."""
    assert measure((1, CounterEvent(0, 1, 5))).input_tokens == 5


def test_an_answer_in_one_piece() -> None:
    """Without a stream there is no TTFT and no ITL, and E2E runs to the last byte."""
    record = measure(
        (500, UsageEvent(9)), (500, TokenEvent()), (500, STOP), streamed=False, last_byte_ns=1500
    )

    assert (
        record.ttft_ns,
        record.itl_ns,
        record.stall_ns,
        record.e2e_ns,
    ) == (None, None, None, 500)
    assert Outcome.OK is record.outcome
    assert record.output_tokens == 9


TOKEN = (100, TokenEvent())


@pytest.mark.parametrize(
    ("outcome", "events", "keywords"),
    [
        (Outcome.OK, [TOKEN, (1, STOP)], {}),
        (Outcome.OK, [TOKEN, (1, TerminatorEvent())], {}),
        (Outcome.OK, [TOKEN, (1, FinishEvent(0, "length"))], {}),
        (Outcome.OK, [TOKEN, (1, FinishEvent(0, "content_filter"))], {}),
        (Outcome.OK, [(1, UnclassifiedEvent(MeterFault.OVERSIZE_RECORD)), (2, STOP)], {}),
        (Outcome.OK, [(1, UsageEvent(3)), (2, STOP)], {}),
        (Outcome.OK, [(1, STOP)], {"generates": False}),
        (Outcome.OK, [TOKEN], {"streamed": False}),
        (Outcome.OK, [(0, UnclassifiedEvent(MeterFault.CONTENT_TYPE))], {"streamed": False}),
        (Outcome.EMPTY, [(1, STOP)], {}),
        (Outcome.EMPTY, [(1, UnclassifiedEvent(MeterFault.BAD_JSON)), (2, STOP)], {}),
        (Outcome.EMPTY, [(1, UsageEvent(0)), (2, TerminatorEvent())], {}),
        (Outcome.EMPTY, [], {"streamed": False, "last_byte_ns": None}),
        (Outcome.TRUNCATED, [], {"last_byte_ns": None}),
        (Outcome.TRUNCATED, [], {}),
        (Outcome.TRUNCATED, [TOKEN], {}),
        (Outcome.TRUNCATED, [TOKEN, (1, TokenEvent(1)), (2, STOP)], {}),
        (Outcome.TRUNCATED, [TOKEN, (1, STOP)], {"end": End.CUT}),
        (Outcome.TRUNCATED, [], {"status": None, "end": End.CUT}),
        (Outcome.STREAM_ERROR, [TOKEN, (1, ErrorEvent()), (2, TerminatorEvent())], {}),
        (Outcome.STREAM_ERROR, [TOKEN, (1, ErrorEvent())], {"end": End.CLIENT_LEFT}),
        (Outcome.STREAM_ERROR, [TOKEN, (1, FinishEvent(0, "abort"))], {}),
        (Outcome.STREAM_ERROR, [TOKEN, (1, FinishEvent(0, "preempt"))], {}),
        (Outcome.TIMEOUT, [TOKEN], {"end": End.TIMED_OUT}),
        (Outcome.TIMEOUT, [], {"end": End.TIMED_OUT, "status": None}),
        (Outcome.CONNECT, [], {"end": End.CONNECT_FAILED, "status": None}),
        (Outcome.CLIENT, [], {"end": End.CLIENT_LEFT, "status": None}),
        (Outcome.CLIENT, [TOKEN], {"end": End.CLIENT_LEFT}),
        (Outcome.OK, [TOKEN, (1, TerminatorEvent())], {"end": End.CLIENT_LEFT}),
        (Outcome.HTTP_5XX, [], {"status": 503}),
        (Outcome.HTTP_5XX, [], {"status": 503, "end": End.CLIENT_LEFT}),
        (Outcome.HTTP_429, [], {"status": 429}),
        (Outcome.HTTP_408, [], {"status": 408}),
        (Outcome.HTTP_4XX, [], {"status": 404}),
        (Outcome.HTTP_4XX, [], {"status": 302}),
    ],
)
def test_outcomes(
    outcome: Outcome, events: list[tuple[int, Event]], keywords: dict[str, object]
) -> None:
    """Each way in which a request can end has one outcome."""
    assert outcome is measure(*events, **keywords).outcome  # type: ignore[arg-type]


def test_choices_are_few_whatever_a_server_invents() -> None:
    """What is kept per choice does not grow with the indices; all of them must still end."""
    events = [(1, TokenEvent(i)) for i in range(1000)]
    timeline = Timeline(T0_NS, EDGES_NS)
    for at_ns, event in events:
        timeline.add(event, at_ns)

    assert len(timeline._choices) == MAX_CHOICES
    ends = [(2, FinishEvent(i, "stop")) for i in range(1000)]
    assert measure(*events, *ends).output_tokens == 1000
    assert measure(*events, *ends).outcome is Outcome.OK
    assert measure(*events, *ends[: MAX_CHOICES - 1]).outcome is Outcome.TRUNCATED


def test_a_failed_choice_stays_failed() -> None:
    """Where answers share an index, the end of one does not hide that another gave up."""
    for reasons in (("abort", "stop"), ("stop", "abort")):
        ends = [(2, FinishEvent(0, reason)) for reason in reasons]
        assert measure((1, TokenEvent()), *ends).outcome is Outcome.STREAM_ERROR


@pytest.mark.parametrize(
    ("phase", "status", "events"),
    [
        (CancelPhase.BEFORE_HEADERS, None, []),
        (CancelPhase.BEFORE_FIRST_TOKEN, 200, []),
        (CancelPhase.BEFORE_FIRST_TOKEN, 200, [(1, CounterEvent(0, 0))]),
        (CancelPhase.BETWEEN_TOKENS, 200, [TOKEN]),
        (CancelPhase.AFTER_LAST_TOKEN, 200, [TOKEN, (1, STOP)]),
    ],
)
def test_cancel_phases(
    phase: CancelPhase, status: int | None, events: list[tuple[int, Event]]
) -> None:
    """The phase says how far the response was when its client left."""
    assert phase is measure(*events, status=status, end=End.CLIENT_LEFT).cancel_phase


@pytest.mark.parametrize(
    ("awaits", "keywords"),
    [
        (True, {"status": None}),
        (False, {"status": None, "stream_asked": False}),
        (True, {"status": 200}),
        (False, {"status": 200, "streamed": False}),
    ],
)
def test_waiting_for_a_first_token(awaits: bool, keywords: dict[str, Any]) -> None:  # noqa: FBT001
    """Only a stream has a first token to wait for: one that was asked for, or has begun."""
    assert measure(end=End.CLIENT_LEFT, **keywords).awaits_token is awaits


@given(st.lists(st.integers(0, 60), min_size=1, max_size=50))
def test_gaps_are_counted_as_they_come(gaps_ns: list[int]) -> None:
    """Bucket counts, sum and stall say the same as the list of gaps would."""
    at_ns = 0
    events = [(at_ns, TokenEvent())]
    for gap_ns in gaps_ns:
        at_ns += gap_ns
        events.append((at_ns, TokenEvent()))
    record = measure(*events)
    below = [sum(gap <= edge for gap in gaps_ns) for edge in (*EDGES_NS, 10**9)]
    disjoint = [n - below[i - 1] if i else n for i, n in enumerate(below)]

    assert Gaps(tuple(disjoint), sum(gaps_ns), EDGES_NS) == record.gaps
    assert max(gaps_ns) == record.stall_ns
    assert sum(gaps_ns) // len(gaps_ns) == record.itl_ns


def test_what_is_said_beside_a_run_of_tokens_counts_once() -> None:
    """Counters and totals replace those before them, so that the newest is enough."""
    timeline = Timeline(0, (5,))
    timeline.streamed = True
    timeline.add_run([CounterEvent(0, 7, 3), TokenEvent()], [10, 20, 22])
    timeline.add_run([CounterEvent(0, 9)], [23])
    record = timeline.record(status=200, end=End.CUT, end_ns=30, last_byte_ns=30)

    assert (record.ttft_ns, record.e2e_ns, record.output_tokens) == (10, 22, 9)
    assert record.input_tokens == 3
    assert record.gaps == Gaps((1, 1), 12, (5,))


@pytest.mark.parametrize(
    ("tokens", "every"),
    [(1, 1), (MAX_TICKS, 1), (MAX_TICKS + 1, 2), (300, 4), (512, 4), (513, 8), (10_000, 128)],
)
@pytest.mark.parametrize("batch", [1, 7, 128, 1000])
def test_a_regular_sample_of_the_times_is_kept(tokens: int, every: int, batch: int) -> None:
    """However tokens come in batches: the first, and each so many after it."""
    timeline = Timeline(T0_NS, EDGES_NS)
    timeline.streamed = True
    times = [T0_NS + 5 * (i + 1) for i in range(tokens)]
    for i in range(0, tokens, batch):
        timeline.add_run([TokenEvent()], times[i : i + batch])
    record = timeline.record(status=200, end=End.CLEAN, end_ns=9000, last_byte_ns=8000)

    assert record.t0_ns == T0_NS
    assert record.token_times_ns == tuple(times[::every])
    assert len(record.token_times_ns) <= MAX_TICKS


def test_what_is_held_of_the_times_is_bounded() -> None:
    """A stream of any length holds as many as a few hundred tokens."""
    timeline = Timeline(T0_NS, EDGES_NS)
    most = 0
    for i in range(20_000):
        timeline.add(TokenEvent(), T0_NS + i)
        most = max(most, len(timeline._ticks))

    assert most <= 2 * MAX_TICKS


def test_an_invisible_end_token_is_no_tick() -> None:
    """It is seen by nobody, and moves no time."""
    record = measure((200, TokenEvent()), (210, TokenEvent()), (250, TokenEvent(hidden=True)))

    assert record.token_times_ns == (T0_NS + 200, T0_NS + 210)
