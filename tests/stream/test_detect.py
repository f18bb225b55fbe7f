"""Endpoints of several servers: the first record that says something decides."""

from __future__ import annotations

import json
from typing import Any

import pytest

from goodput_proxy.faults import MeterFault
from goodput_proxy.stream.detect import DetectingDialect
from goodput_proxy.stream.events import (
    CounterEvent,
    EndsAtCloseEvent,
    ErrorEvent,
    Event,
    FinishEvent,
    TerminatorEvent,
    TokenEvent,
    TokenSource,
    UnclassifiedEvent,
)
from tests.stream.records import LONG, oversize
from tests.stream.records import read as read_records

UNREAD = UnclassifiedEvent(MeterFault.OVERSIZE_RECORD)


def read(*payloads: Any) -> list[Event]:
    """Return what a fresh dialect reads."""
    return read_records(DetectingDialect(), *payloads)


@pytest.mark.parametrize(
    ("payload", "events"),
    [
        ({"id": "1", "choices": [{"delta": {"content": "x"}}]}, [TokenEvent()]),
        ({"candidates": [{"content": {"parts": [{"text": "x"}]}}]}, [TokenEvent()]),
        ({"type": "transcript.text.delta", "delta": "x"}, [TokenEvent()]),
        ({"index": 1, "token": {"id": 1, "text": "x"}}, [TokenEvent(ids=1)]),
        (
            {"text": "x", "meta_info": {"completion_tokens": 1}},
            [CounterEvent(0, 1, None, TokenSource.META_INFO), TokenEvent()],
        ),
        ({"model_name": "m", "ANSWER": "x"}, [EndsAtCloseEvent(), TokenEvent()]),
        ({"text_output": "x"}, [EndsAtCloseEvent(), TokenEvent()]),
        ({"response": "x", "done": False}, [TokenEvent()]),
        ({"content": "x", "stop": False}, [TokenEvent()]),
        ({"content": "x"}, [TokenEvent()]),
        (
            {"tokens_predicted": 0, "content": ""},
            [CounterEvent(0, 0, None, TokenSource.TOKENS_PREDICTED)],
        ),
        ({"text": ["p x"]}, [EndsAtCloseEvent(), TokenEvent()]),
        ({"text": "x"}, [TokenEvent()]),
        (b"bare text", [EndsAtCloseEvent(), TokenEvent()]),
        (b"\xff\xfe", [EndsAtCloseEvent(), TokenEvent()]),
    ],
)
def test_keys_tell_the_family(payload: Any, events: list[Event]) -> None:
    """Each family is known by a key that only it has."""
    assert read(payload) == events


def test_the_first_record_that_says_something_decides() -> None:
    """Keep-alives decide nothing; what looks otherwise later is read as the first."""
    assert read(b"", b" ", {}, {"id": 1}, {"text": "x"}, b"bare") == [
        *(TokenEvent(), UnclassifiedEvent(MeterFault.BAD_JSON)),
    ]


def test_bare_text_stays_bare_text() -> None:
    """A transcript may read like JSON."""
    assert read(b"Hello", b'{"choices":[]}')[2:] == [EndsAtCloseEvent(), TokenEvent()]


@pytest.mark.parametrize(
    ("payload", "event"),
    [
        ({"error": {"type": "T"}}, ErrorEvent("T")),
        (b'{"error": "a "b" c"}', ErrorEvent()),
        (b"[DONE]", TerminatorEvent()),
        (b"{", UnclassifiedEvent(MeterFault.BAD_JSON)),
        (b"[1]", UnclassifiedEvent(MeterFault.UNEXPECTED_SHAPE)),
    ],
)
def test_before_anything_is_known(payload: Any, event: Event) -> None:
    """Errors and terminators are the same in all families, and decide nothing."""
    assert read(payload) == [event]
    assert read(payload, {"text": "x"}) == [event, TokenEvent()]


def test_a_first_record_above_the_cap() -> None:
    """Its first key tells, where it does."""
    assert read(oversize({"text": LONG, "meta_info": {"completion_tokens": 9}})) == [
        *(UNREAD, CounterEvent(0, 9, None, TokenSource.META_INFO), TokenEvent()),
    ]
    assert read(oversize({"id": LONG}), oversize(b"{" + b" " * 5000 + b"}")) == [UNREAD, UNREAD]


def test_a_request_for_no_output() -> None:
    """Text is then an echo, whether it comes in pieces or not."""
    echo = {"choices": [{"index": 0, "text": "prompt", "finish_reason": "length"}]}
    dialect = DetectingDialect(generates=False)

    assert read_records(dialect, echo) == [FinishEvent(0, "length")]
    assert dialect.read_unary(json.dumps(echo).encode()) == [FinishEvent(0, "length")]
