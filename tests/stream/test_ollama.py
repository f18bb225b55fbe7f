"""Ollama's own API: text, thinking, whole tool calls, and calls that only load a model."""

from __future__ import annotations

from typing import Any

import pytest

from goodput_proxy.faults import MeterFault
from goodput_proxy.stream.events import (
    ErrorEvent,
    Event,
    FinishEvent,
    TerminatorEvent,
    TokenEvent,
    TokenSource,
    UnclassifiedEvent,
    UsageEvent,
)
from goodput_proxy.stream.ollama import OllamaDialect
from tests.stream.records import LONG, oversize_line
from tests.stream.records import read as read_records

UNREAD = UnclassifiedEvent(MeterFault.OVERSIZE_RECORD)
CALL = {"function": {"name": "f", "arguments": {"city": "Ulm"}}}


def read(*payloads: Any) -> list[Event]:
    """Return what a fresh dialect reads."""
    return read_records(OllamaDialect(), *payloads)


@pytest.mark.parametrize(
    "payload",
    [
        {"response": "x", "done": False},
        {"response": "", "thinking": "x"},
        {"message": {"role": "assistant", "content": "x"}},
        {"message": {"role": "assistant", "content": "", "thinking": "x"}},
        {"message": {"role": "assistant", "content": "", "tool_calls": [CALL]}},
    ],
)
def test_output_is_a_token(payload: Any) -> None:
    """Text, thinking and calls count on both paths."""
    assert read(payload) == [TokenEvent()]


def test_records_that_say_nothing() -> None:
    """`content` is there in every record."""
    assert read({"message": {"role": "assistant", "content": ""}}, {"response": ""}) == []


def test_logprobs_are_tokens_without_text() -> None:
    """A token whose text is held back shows in its logprobs."""
    assert read({"response": "", "logprobs": [{"token": "a"}, {"token": "b"}]}) == [
        TokenEvent(logprobs=2)
    ]


def test_the_last_record() -> None:
    """It has the reason and, from Ollama itself, the counts."""
    counts = {"eval_count": 4, "prompt_eval_count": 9}

    assert read({"response": "", "done": True, "done_reason": "length", **counts}) == [
        *(UsageEvent(4, 9, TokenSource.EVAL_COUNT), FinishEvent(0, "length"), TerminatorEvent()),
    ]
    assert read({"response": "", "done": True}) == [FinishEvent(0, "stop"), TerminatorEvent()]
    assert read({"done": True, "prompt_eval_count": 9, "eval_count": -1})[0] == UsageEvent(
        None, 9, TokenSource.EVAL_COUNT
    )


def test_a_model_that_is_loaded() -> None:
    """The reason says that no output was asked for."""
    assert read({"response": "", "done": True, "done_reason": "load"})[0] == FinishEvent(0, "load")


def test_errors() -> None:
    """An error is a line of its own."""
    assert read({"error": "model runner has stopped"}) == [ErrorEvent()]


def test_the_last_record_has_the_ids_of_the_whole_context() -> None:
    """Above the cap its ends still have the reason and the counts."""
    last = {
        "model": "m",
        "response": "",
        "done": True,
        "done_reason": "length",
        "context": list(range(2000)),
        "prompt_eval_count": 9,
        "eval_count": 4,
    }

    assert read(oversize_line(last)) == [
        UNREAD,
        *(UsageEvent(4, 9, TokenSource.EVAL_COUNT), FinishEvent(0, "length"), TerminatorEvent()),
    ]
    assert read(oversize_line({"done": True, "context": list(range(2000))}))[1:] == [
        *(UsageEvent(None, None, TokenSource.EVAL_COUNT), FinishEvent(0, "stop")),
        TerminatorEvent(),
    ]


def test_a_large_call() -> None:
    """A whole tool call may be large, though its arguments are an object."""
    call = {"function": {"name": "f", "arguments": {"file": LONG}}}
    record = {"message": {"role": "assistant", "content": "", "tool_calls": [call]}, "done": False}

    assert read(oversize_line(record)) == [UNREAD, TokenEvent()]
