"""The dialect of `choices`: what is a token, what is not, and what a server says of itself."""

from __future__ import annotations

import json
from typing import Any

import pytest

from goodput_proxy.faults import MeterFault
from goodput_proxy.stream.choices import ChoicesDialect
from goodput_proxy.stream.events import (
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
from goodput_proxy.stream.framing import Record
from tests.stream.records import LONG, oversize


def read(*payloads: Any, dialect: ChoicesDialect | None = None) -> list[Event]:
    """Return what a fresh dialect reads from payloads, JSON unless they are bytes."""
    reader = dialect or ChoicesDialect()
    events: list[Event] = []
    for payload in payloads:
        data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        events += reader.read(Record(data))
    return events


def chunk(delta: Any, index: int = 0, **more: Any) -> dict[str, Any]:
    """Return a chat record with one choice."""
    return {"choices": [{"index": index, "delta": delta, **more}]}


@pytest.mark.parametrize(
    "delta",
    [
        {"content": "x"},
        {"content": "\n"},
        {"role": "assistant", "content": "x"},
        {"reasoning": "x"},
        {"reasoning_content": "x", "content": None},
        {"thinking": "x"},
        {"reasoning_details": [{"type": "reasoning.text", "text": "x"}]},
        {"refusal": "no"},
        {"tool_calls": [{"index": 0, "id": "1", "function": {"name": "f", "arguments": ""}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": "{"}}]},
        {"function_call": {"arguments": "{"}},
        {"audio": {"transcript": "x"}},
        {"content": [{"type": "text", "text": "x"}]},
    ],
)
def test_output_is_a_token(delta: Any) -> None:
    """Output counts in every channel and under every name."""
    assert [TokenEvent()] == read(chunk(delta))


@pytest.mark.parametrize(
    "delta",
    [
        {},
        None,
        {"role": "assistant"},
        {"role": "assistant", "content": ""},
        {"role": "assistant", "content": None, "reasoning_content": None},
        {"content": []},
        {"tool_calls": [{"index": 0, "id": "call-1", "type": "function", "function": {}}]},
        {"reasoning_details": [{"type": "reasoning.encrypted", "id": "1", "signature": "s"}]},
        {"audio": {"id": "audio-1", "expires_at": 3}},
    ],
)
def test_labels_are_no_token(delta: Any) -> None:
    """Roles, empty deltas, ids and signatures are not output."""
    assert read(chunk(delta)) == []


@pytest.mark.parametrize(
    "payload",
    [{}, {"choices": []}, {"choices": None}, {"id": "x", "usage": None}],
)
def test_records_that_say_nothing(payload: Any) -> None:
    """Records without a choice and without totals say nothing."""
    assert read(payload) == []


def test_completions_text_and_finish() -> None:
    """Completions carry text beside the finish reason."""
    assert [TokenEvent(1), FinishEvent(1, "length")] == read(
        {"choices": [{"index": 1, "text": "x", "finish_reason": "length"}]}
    )


def test_several_choices_in_one_record() -> None:
    """MLC puts all choices of a step into one record."""
    assert [TokenEvent(0), TokenEvent(1)] == read(
        {"choices": [{"index": 0, "delta": {"content": "a"}}, {"index": 1, "text": "b"}]}
    )


def test_token_ids_are_evidence_without_text() -> None:
    """A token that ends inside a UTF-8 sequence has an id and no text."""
    assert [TokenEvent(ids=2)] == read(chunk({"content": ""}, token_ids=[7, 8]))


@pytest.mark.parametrize(
    "logprobs", [{"content": [{"token": "a", "top_logprobs": [{}]}]}, {"tokens": ["a"]}]
)
def test_logprobs_count_tokens(logprobs: Any) -> None:
    """Logprobs have one entry per token, in chat and in completions."""
    assert [TokenEvent(logprobs=1)] == read(chunk({"content": "a"}, logprobs=logprobs))


def test_empty_lists_are_no_evidence() -> None:
    """Fields that are there and hold nothing prove nothing."""
    assert read(chunk({"content": ""}, token_ids=[], logprobs={"content": []})) == []


def test_an_invisible_end_token_is_hidden() -> None:
    """A closing record whose only evidence is an id is marked as hidden."""
    assert [TokenEvent(ids=1, hidden=True), FinishEvent(0, "stop")] == read(
        chunk({"content": ""}, token_ids=[2], finish_reason="stop")
    )


def test_usage_in_a_record_of_its_own() -> None:
    """Usage beside an empty list of choices is the total of the request."""
    assert [UsageEvent(4, 9)] == read(
        {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 4}}
    )


def test_usage_on_the_finish_record_is_a_total() -> None:
    """A usage that is first seen on the finish record is no evidence of a new token."""
    assert [CounterEvent(0, 3, 4), FinishEvent(0, "stop")] == read(
        {
            **chunk({}, finish_reason="stop"),
            "usage": {"completion_tokens": 3, "prompt_tokens": 4},
        }
    )


def test_continuous_usage_that_moves_is_a_token() -> None:
    """A per-choice counter that moved proves a token; one that stands still does not."""

    def record(content: str, count: int) -> dict[str, Any]:
        return {**chunk({"content": content}), "usage": {"completion_tokens": count}}

    assert [
        CounterEvent(0, 0),
        CounterEvent(0, 1),
        TokenEvent(),
        CounterEvent(0, 1),
        CounterEvent(0, 2),
        TokenEvent(),
    ] == read(record("", 0), record("", 1), record("", 1), record("", 2))


def test_timings_of_llama_cpp() -> None:
    """llama.cpp states its count in `timings`, with or without a choice."""
    timings = {"timings": {"predicted_n": 3}}

    assert [UsageEvent(3, None, TokenSource.TIMINGS)] == read(timings)
    assert [UsageEvent(3, None, TokenSource.TIMINGS), FinishEvent(0, "stop")] == read(
        {**chunk({}, finish_reason="stop"), **timings}
    )


def test_the_terminator() -> None:
    """`[DONE]` ends a stream, with whatever blanks behind it."""
    assert [TerminatorEvent(), TerminatorEvent()] == read(b"[DONE]", b"[DONE] ")


@pytest.mark.parametrize(
    ("payload", "event"),
    [
        ({"error": {"type": "T", "code": 500}}, ErrorEvent("T", 500)),
        ({"error": {"message": "m", "http_status_code": 422}}, ErrorEvent(None, 422)),
        ({"error": "text"}, ErrorEvent()),
        ({"error": "text", "error_type": "E"}, ErrorEvent("E")),
        ({"error": {"type": 1, "code": []}}, ErrorEvent()),
        ({"error": True, "type": "error", "code": "overloaded"}, ErrorEvent("error", "overloaded")),
        (b'{"error": "it said "no" to us"}', ErrorEvent()),
        (b' { "error" : broken', ErrorEvent()),
    ],
)
def test_errors_in_every_shape(payload: Any, event: Event) -> None:
    """An error record is seen in each shape that servers give it, valid JSON or not."""
    assert [event] == read(payload)


@pytest.mark.parametrize("data", [b'{"message":"lost"}', b"lost", None])
def test_named_error_events(data: bytes | None) -> None:
    """`event: error` is an error whatever its data is, and also without data."""
    (event,) = ChoicesDialect().read(Record(data, b"error"))

    assert isinstance(event, ErrorEvent)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"garbage", MeterFault.BAD_JSON),
        (b'{"choices":[{"delta":{"content":"\xff"}}]}', MeterFault.BAD_JSON),
        (b'{"choices":[{"delta":{"content":"a\x00"}}]}', MeterFault.BAD_JSON),
        (b'{"other":' + b"[" * 100_000, MeterFault.BAD_JSON),
        (b'"text"', MeterFault.UNEXPECTED_SHAPE),
        (b'{"choices":{"a":1}}', MeterFault.UNEXPECTED_SHAPE),
    ],
)
def test_unreadable_records(data: bytes, reason: MeterFault) -> None:
    """What cannot be read is reported with its reason and never raises."""
    assert [UnclassifiedEvent(reason)] == read(data)


UNREAD = UnclassifiedEvent(MeterFault.OVERSIZE_RECORD)


@pytest.mark.parametrize(
    ("payload", "events"),
    [
        (chunk({"content": LONG}), [TokenEvent()]),
        (
            chunk({"content": LONG}, 2, finish_reason="stop"),
            [TokenEvent(2), FinishEvent(2, "stop")],
        ),
        (
            chunk({"tool_calls": [{"index": 3, "function": {"name": "f", "x": LONG}}]}),
            [TokenEvent()],
        ),
        (
            {"choices": [{"delta": {"tool_calls": [{"index": 3, "x": LONG}]}, "index": 1}]},
            [TokenEvent()],
        ),
        (
            {**chunk({"content": LONG}), "usage": {"prompt_tokens": 9, "completion_tokens": 4}},
            [CounterEvent(0, 4, 9), TokenEvent()],
        ),
        ({**chunk({"content": ""}), "prompt_token_ids": [7] * 3000}, []),
        ({**chunk({}), "error": {"message": LONG}}, []),
    ],
)
def test_oversize_records(payload: Any, events: list[Event]) -> None:
    """A record that framing gave up is reported as such, and read at its ends."""
    assert ChoicesDialect().read(oversize(payload)) == [UNREAD, *events]


def test_an_oversize_echo_is_no_token() -> None:
    """When no output was asked for, a long text is the prompt."""
    record = oversize({"choices": [{"index": 0, "text": LONG}]})

    assert ChoicesDialect(generates=False).read(record) == [UNREAD]


def test_echo_of_a_request_without_output() -> None:
    """With `max_tokens: 0` text is an echo of the prompt."""
    dialect = ChoicesDialect(generates=False)

    assert [FinishEvent(0, "length")] == read(
        {"choices": [{"index": 0, "text": "prompt", "finish_reason": "length"}]}, dialect=dialect
    )
    assert dialect.read_unary(b'{"choices":[{"text":"prompt"}]}') == []


def test_echo_record_of_chat() -> None:
    """With chat's `echo` the first text of each choice is the prompt."""
    echo, token = chunk({"content": "prompt"}), chunk({"content": "x"})
    other = chunk({"content": "prompt"}, index=1)

    assert [TokenEvent()] == read(echo, token, other, dialect=ChoicesDialect(echo_record=True))


@pytest.mark.parametrize(
    ("body", "events"),
    [
        (
            {
                "choices": [
                    {"message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}
                ],
                "usage": {"prompt_tokens": 1, "completion_tokens": 2},
            },
            [UsageEvent(2, 1), TokenEvent(), FinishEvent(0, "stop")],
        ),
        ({"choices": [{"index": 2, "text": "hi"}]}, [TokenEvent(2)]),
        ({"choices": [{"message": {"role": "assistant", "content": None}}]}, []),
        ({"error": {"type": "T"}}, [ErrorEvent("T")]),
        ([], []),
        ([{"choices": [{"text": "hi"}]}], [TokenEvent()]),
        ("x", [UnclassifiedEvent(MeterFault.UNEXPECTED_SHAPE)]),
    ],
)
def test_unary_answers(body: Any, events: list[Event]) -> None:
    """An answer in one piece gives its totals, its text and its finish."""
    assert events == ChoicesDialect().read_unary(json.dumps(body).encode())


@pytest.mark.parametrize("count", [-1, "7", None, 1.5, 10**30])
def test_counts_that_are_none(count: Any) -> None:
    """What cannot be a number of tokens was not said, and hides no text."""
    usage = {"completion_tokens": count, "prompt_tokens": count}
    timings = {"predicted_n": count}

    assert read({**chunk({"content": "x"}), "usage": usage}) == [TokenEvent()]
    assert read({"choices": [], "usage": usage, "timings": timings}) == [
        *(UsageEvent(None), UsageEvent(None, None, TokenSource.TIMINGS)),
    ]
