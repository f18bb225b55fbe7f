"""Answers in one piece, of every API: output, tokens, end."""

from __future__ import annotations

import json
from typing import Any

import pytest

from goodput_proxy.faults import MeterFault
from goodput_proxy.stream.answer import read_answer
from goodput_proxy.stream.events import (
    CounterEvent,
    ErrorEvent,
    Event,
    FinishEvent,
    TokenEvent,
    TokenSource,
    UnclassifiedEvent,
    UsageEvent,
)

STOP = FinishEvent(0, "stop")


def said(body: Any, **keywords: bool) -> list[Event]:
    """Return what an answer says."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return read_answer(data, **keywords)


@pytest.mark.parametrize(
    ("body", "events"),
    [
        pytest.param(
            {
                "choices": [
                    {"index": 0, "message": {"content": "a"}, "finish_reason": "stop"},
                    {
                        "index": 1,
                        "message": {"content": None, "tool_calls": [{"function": {"name": "f"}}]},
                    },
                ],
                "usage": {"prompt_tokens": 1, "completion_tokens": 2},
            },
            [UsageEvent(2, 1), TokenEvent(), STOP, TokenEvent(1)],
            id="chat",
        ),
        pytest.param(
            {"choices": [{"token_ids": [1, 2], "finish_reason": "length"}]},
            [TokenEvent(ids=2), FinishEvent(0, "length")],
            id="vllm_token_ids",
        ),
        pytest.param(
            {
                "type": "message",
                "role": "assistant",
                "content": [{"type": "text", "text": "a"}],
                "stop_reason": "end_turn",
                "usage": {"input_tokens": 1, "output_tokens": 2},
            },
            [UsageEvent(2, 1), TokenEvent(), FinishEvent(0, "end_turn")],
            id="anthropic",
        ),
        pytest.param(
            {
                "object": "response",
                "status": "completed",
                "output": [{"type": "function_call", "name": "f", "arguments": "{}"}],
                "usage": {"input_tokens": 1, "output_tokens": 2},
            },
            [UsageEvent(2, 1), TokenEvent(), FinishEvent(0, "completed")],
            id="openai_responses",
        ),
        pytest.param(
            {
                "message": {"role": "assistant", "content": "", "thinking": "a"},
                "done": True,
                "done_reason": "stop",
                "prompt_eval_count": 1,
                "eval_count": 2,
            },
            [UsageEvent(2, 1, TokenSource.EVAL_COUNT), TokenEvent(), STOP],
            id="ollama_chat",
        ),
        pytest.param(
            {"response": "", "done": True, "done_reason": "load"},
            [FinishEvent(0, "load")],
            id="ollama_load",
        ),
        pytest.param(
            {
                "text": "a",
                "output_ids": [1, 2],
                "meta_info": {
                    "completion_tokens": 2,
                    "prompt_tokens": 1,
                    "finish_reason": {"type": "stop", "matched": 2},
                },
            },
            [UsageEvent(2, 1, TokenSource.META_INFO), TokenEvent(ids=2), STOP],
            id="sglang",
        ),
        pytest.param(
            [
                {
                    "generated_text": "a",
                    "details": {"finish_reason": "length", "generated_tokens": 2},
                }
            ],
            [CounterEvent(0, 2, None, TokenSource.DETAILS), TokenEvent(), FinishEvent(0, "length")],
            id="tgi",
        ),
        pytest.param(
            {
                "content": "a",
                "tokens_predicted": 2,
                "tokens_evaluated": 1,
                "stop_type": "eos",
                "timings": {"predicted_n": 2, "prompt_n": 1},
            },
            [
                UsageEvent(2, 1, TokenSource.TIMINGS),
                UsageEvent(2, 1, TokenSource.TOKENS_PREDICTED),
                TokenEvent(),
                FinishEvent(0, "eos"),
            ],
            id="llamacpp",
        ),
        pytest.param(
            {
                "candidates": [
                    {"content": {"parts": [{"text": "a"}]}, "finishReason": "STOP", "index": 0},
                    {"content": {"parts": [{"functionCall": {"name": "f"}}]}, "index": 1},
                ],
                "usageMetadata": {
                    "promptTokenCount": 1,
                    "candidatesTokenCount": 2,
                    "thoughtsTokenCount": 3,
                },
            },
            [UsageEvent(5, 1), TokenEvent(), FinishEvent(0, "STOP"), TokenEvent(1)],
            id="gemini",
        ),
        pytest.param(
            {
                "output": [{"type": "message", "content": "a"}],
                "stats": {"total_output_tokens": 2, "input_tokens": 1},
            },
            [UsageEvent(2, 1, TokenSource.STATS), TokenEvent()],
            id="lmstudio",
        ),
        pytest.param(
            {
                "message": {"role": "assistant", "content": [{"type": "text", "text": "a"}]},
                "finish_reason": "COMPLETE",
                "usage": {"tokens": {"input_tokens": 1, "output_tokens": 2}},
            },
            [UsageEvent(2, 1), TokenEvent(), FinishEvent(0, "COMPLETE")],
            id="cohere",
        ),
        pytest.param({"text": "a transcript"}, [TokenEvent()], id="transcription"),
        pytest.param({"text": ["prompt and output"]}, [TokenEvent()], id="old_vllm"),
    ],
)
def test_every_api(body: Any, events: list[Event]) -> None:
    """Whatever the API: its totals, its output, its end."""
    assert said(body) == events


@pytest.mark.parametrize(
    "body",
    [
        {"choices": [{"message": {"role": "assistant", "content": None}}]},
        {"choices": [{"text": ""}]},
        {"output": [{"type": "message", "id": "m", "status": "completed", "content": []}]},
        {"candidates": [{"content": {"role": "model"}, "safetyRatings": [{"category": "X"}]}]},
        {"message": {"role": "assistant", "content": ""}, "response": ""},
        {"data": [{"embedding": [0.1]}], "object": "list"},
        {},
        [],
    ],
)
def test_answers_without_output(body: Any) -> None:
    """States, ratings and roles are no output."""
    assert said(body) == []


def test_a_blocked_answer_ends_without_output() -> None:
    """Gemini states why there is nothing."""
    assert said({"candidates": [{"finishReason": "SAFETY"}]}) == [FinishEvent(0, "SAFETY")]


@pytest.mark.parametrize(
    ("body", "event"),
    [
        ({"error": {"type": "T", "code": 500}}, ErrorEvent("T", 500)),
        ({"error": "text", "error_type": "E"}, ErrorEvent("E")),
        ({"type": "error", "error": {"type": "overloaded_error"}}, ErrorEvent("overloaded_error")),
        (b'{"error": "it said "no" to us"}', ErrorEvent()),
    ],
)
def test_errors_under_a_good_status(body: Any, event: Event) -> None:
    """An error body is a failure, whatever its status says."""
    assert said(body) == [event]


def test_answers_of_several_choices_add_up() -> None:
    """A list has a count for each of its answers, not a total in the last."""
    answers = [
        {"text": "a", "meta_info": {"completion_tokens": n, "finish_reason": {"type": "stop"}}}
        for n in (3, 4)
    ]

    assert [e for e in said(answers) if isinstance(e, CounterEvent | UsageEvent)] == [
        CounterEvent(0, 3, None, TokenSource.META_INFO),
        CounterEvent(1, 4, None, TokenSource.META_INFO),
    ]
    assert said([{"usage": {"input_tokens": 3}}]) == [UsageEvent(None, 3)]


@pytest.mark.parametrize(
    "body", [{"choices": [{"text": "prompt", "token_ids": []}]}, {"content": "prompt"}]
)
def test_an_echo_is_no_output(body: Any) -> None:
    """When no output was asked for, text repeats the prompt."""
    assert said(body, generates=False) == []


@pytest.mark.parametrize(
    "body",
    [
        {"status": {"type": ["x"]}, "finish_reason": 7},
        {"candidates": [{"finishReason": {"a": 1}}]},
        {"choices": [{"finish_reason": {"type": "stop"}}]},
        {"meta_info": "x", "details": [], "stats": 3, "timings": None, "usage": "y"},
        {"eval_count": "x"},
    ],
)
def test_other_types_say_nothing(body: Any) -> None:
    """Where a server puts something else, nothing was said."""
    assert [e for e in said(body) if e != UsageEvent(None, None, TokenSource.EVAL_COUNT)] == []


def test_numbers_that_are_none() -> None:
    """Python's JSON has words for them."""
    assert said({"text": "x", "logprobs": [float("-inf"), float("nan")]}) == [TokenEvent()]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", MeterFault.BAD_JSON),
        (b"<html>", MeterFault.BAD_JSON),
        (b'{"text":"\xff"}', MeterFault.BAD_JSON),
        (b'{"text":"a\x00"}', MeterFault.BAD_JSON),
        (b"[[0.1]]", MeterFault.UNEXPECTED_SHAPE),
        *((b'{"text":' + b"[" * d + b"]" * d + b"}", MeterFault.BAD_JSON) for d in (990, 10**5)),
    ],
)
def test_unreadable_answers(body: bytes, reason: MeterFault) -> None:
    """What cannot be read is reported with its reason and never raises."""
    assert said(body) == [UnclassifiedEvent(reason)]


def test_deep_answers_do_not_raise() -> None:
    """Nesting that the decoder bears is borne by what looks into it."""
    for depth in range(50, 1000, 50):
        assert len(said(b'{"message":' + b"[" * depth + b'"x"' + b"]" * depth + b"}")) == 1
