"""Events of a protocol: what is output is a list, and everything else is not."""

from __future__ import annotations

import json
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
from goodput_proxy.stream.framing import Record
from goodput_proxy.stream.typed import TypedDialect
from tests.stream.records import LONG, oversize
from tests.stream.records import read as read_records

UNREAD = UnclassifiedEvent(MeterFault.OVERSIZE_RECORD)
END = TerminatorEvent()


def read(*payloads: Any) -> list[Event]:
    """Return what a fresh dialect reads."""
    return read_records(TypedDialect(), *payloads)


def named(payload: Any, event: str) -> Record:
    """Return a record with an event line."""
    return Record(json.dumps(payload).encode(), event.encode())


RESPONSE_DELTAS = (
    *("output_text", "reasoning_text", "reasoning_summary_text", "refusal"),
    *("function_call_arguments", "custom_tool_call_input", "mcp_call_arguments"),
    *("code_interpreter_call_code", "shell_call_command", "text", "audio", "audio.transcript"),
    *("audio_transcript", "output_audio", "output_audio_transcript"),
)


@pytest.mark.parametrize(
    "payload",
    [
        *({"type": f"response.{name}.delta", "delta": "x"} for name in RESPONSE_DELTAS),
        {"type": "response.output_text.delta", "delta": "x", "logprobs": [], "obfuscation": "pad"},
        {"type": "transcript.text.delta", "delta": "x"},
        {"type": "transcription.delta", "delta": "x"},
        {"type": "conversation.item.input_audio_transcription.delta", "delta": "x"},
        {"type": "speech.audio.delta", "audio": "UklG"},
        {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "x"}},
        {"type": "content_block_delta", "delta": {"type": "thinking_delta", "thinking": "x"}},
        {"type": "content_block_delta", "delta": {"type": "input_json_delta", "partial_json": "{"}},
        {"type": "content_block_start", "content_block": {"type": "tool_use", "name": "f"}},
        {"type": "content_block_start", "content_block": {"type": "server_tool_use"}},
        {"type": "content-delta", "delta": {"message": {"content": {"text": "x"}}}},
        {"type": "tool-plan-delta", "delta": {"message": {"tool_plan": "x"}}},
        {
            "type": "tool-call-start",
            "delta": {"message": {"tool_calls": {"function": {"name": "f"}}}},
        },
        {
            "type": "tool-call-delta",
            "delta": {"message": {"tool_calls": {"function": {"arguments": "{"}}}},
        },
        {"type": "message.delta", "content": "x"},
        {"type": "reasoning.delta", "content": "x"},
        {"type": "tool_call.arguments", "tool": "f", "arguments": {"city": "Ulm"}},
    ],
)
def test_output_is_a_token(payload: dict[str, Any]) -> None:
    """Every kind of delta counts, named in the payload, in the event line or in both."""
    name = payload["type"]
    bare = {key: value for key, value in payload.items() if key != "type"}

    assert read(payload) == [TokenEvent()]
    for body in (payload, bare):
        assert TypedDialect().read(named(body, name)) == [TokenEvent()]


@pytest.mark.parametrize(
    "payload",
    [
        {"type": "ping"},
        {"type": "content_block_delta", "delta": {"type": "input_json_delta", "partial_json": ""}},
        {"type": "content_block_delta", "delta": {"type": "signature_delta", "signature": "abc"}},
        {
            "type": "content_block_delta",
            "delta": {"type": "citations_delta", "citation": {"cited_text": "abc"}},
        },
        {"type": "content_block_start", "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_start"},
        {"type": "content_block_stop", "index": 0},
        {
            "type": "response.created",
            "response": {"status": "in_progress", "tools": [{"name": "f"}]},
        },
        {"type": "response.in_progress", "response": {"status": "in_progress"}},
        {"type": "response.output_item.added", "item": {"type": "message", "content": []}},
        {"type": "response.output_item.done", "item": {"content": [{"text": "abc"}]}},
        {"type": "response.content_part.done", "part": {"text": "abc"}},
        {"type": "response.output_text.done", "text": "abc"},
        {"type": "response.function_call_arguments.done", "arguments": "{}"},
        {"type": "response.output_text.annotation.added", "annotation": {"title": "abc"}},
        {"type": "response.shell_call_output_content.delta", "delta": {"stdout": "abc"}},
        {"type": "response.image_generation_call.partial_image", "partial_image_b64": "abc"},
        {"type": "response.output_text.delta", "delta": "", "obfuscation": "padding"},
        {"type": "message-start", "delta": {"message": {"role": "assistant", "content": []}}},
        {"type": "content-start", "delta": {"message": {"content": {"type": "text", "text": ""}}}},
        {"type": "tool-call-end"},
        {"type": "chat.start", "model_instance_id": "m"},
        {"type": "model_load.progress", "model_instance_id": "m", "progress": 0.5},
        {"type": "prompt_processing.progress", "progress": 0.5},
        {"type": "message.start"},
        {"type": "tool_call.success", "output": "abc"},
        {"type": "session.created"},
        {"type": ["odd"], "delta": "x"},
        {},
    ],
)
def test_everything_else_is_no_token(payload: Any) -> None:
    """Preambles, progress, signatures, citations, snapshots and pings are not output."""
    assert read(payload) == []


def test_beginnings_of_messages() -> None:
    """What the prompt cost is known at the start; the output count there is a placeholder."""
    usage = {"input_tokens": 9, "output_tokens": 1}

    assert read({"type": "message_start", "message": {"usage": usage}}) == [UsageEvent(None, 9)]
    assert read({"type": "message_start", "message": {}}, {"type": "message_start"}) == []


@pytest.mark.parametrize(
    ("payload", "events"),
    [
        (
            {
                "type": "message_delta",
                "delta": {"stop_reason": "end_turn"},
                "usage": {"output_tokens": 5},
            },
            [UsageEvent(5), FinishEvent(0, "end_turn")],
        ),
        ({"type": "message_stop"}, [END]),
        (
            {
                "type": "message-end",
                "delta": {
                    "finish_reason": "COMPLETE",
                    "usage": {"tokens": {"input_tokens": 9, "output_tokens": 5}},
                },
            },
            [UsageEvent(5, 9), FinishEvent(0, "COMPLETE")],
        ),
        (
            {"type": "message-end", "delta": {"finish_reason": "ERROR", "error": "m"}},
            [ErrorEvent(), FinishEvent(0, "ERROR")],
        ),
        (
            {
                "type": "response.completed",
                "response": {
                    "status": "completed",
                    "output": [{"content": [{"text": "abc"}]}],
                    "usage": {"input_tokens": 9, "output_tokens": 5},
                },
            },
            [UsageEvent(5, 9), FinishEvent(0, "completed"), END],
        ),
        (
            {"type": "response.incomplete", "response": {"status": "incomplete"}},
            [FinishEvent(0, "incomplete"), END],
        ),
        (
            {
                "type": "response.failed",
                "response": {"status": "failed", "error": {"code": "server_error"}},
            },
            [ErrorEvent(None, "server_error"), FinishEvent(0, "failed"), END],
        ),
        ({"type": "response.failed"}, [ErrorEvent(), END]),
        (
            {"type": "response.done", "response": {"status": "failed"}},
            [ErrorEvent(), FinishEvent(0, "failed"), END],
        ),
        (
            {"type": "transcript.text.done", "text": "abc", "usage": {"output_tokens": 5}},
            [UsageEvent(5), END],
        ),
        (
            {"type": "transcription.done", "text": "abc", "usage": {"completion_tokens": 5}},
            [UsageEvent(5), END],
        ),
        ({"type": "speech.audio.done", "usage": {"output_tokens": 5}}, [UsageEvent(5), END]),
        (
            {"type": "conversation.item.input_audio_transcription.failed", "error": {"code": "c"}},
            [ErrorEvent(None, "c"), END],
        ),
        (
            {
                "type": "chat.end",
                "result": {
                    "output": [{"content": "abc"}],
                    "stats": {"total_output_tokens": 5, "input_tokens": 9},
                },
            },
            [UsageEvent(5, 9, TokenSource.STATS), END],
        ),
    ],
)
def test_ends(payload: Any, events: list[Event]) -> None:
    """Totals, reason, and whether anything may follow; never the text that is repeated."""
    assert read(payload) == events


@pytest.mark.parametrize(
    "payload",
    [
        {"type": "message_delta", "delta": {"stop_reason": {"a": 1}}},
        {"type": "message_delta", "delta": {"stop_reason": ["a"]}, "usage": None},
        {"type": "message_delta", "delta": "x"},
        {"type": "message-end", "delta": {"finish_reason": 7}},
    ],
)
def test_ends_of_other_types_say_nothing(payload: Any) -> None:
    """A reason that is no string is none."""
    assert read(payload) == []
    stats = {"total_output_tokens": "5", "input_tokens": -1}
    assert read({"type": "chat.end", "result": {"stats": stats}}) == [
        *(UsageEvent(None, None, TokenSource.STATS), END),
    ]


@pytest.mark.parametrize(
    ("payload", "event"),
    [
        (
            {"type": "error", "error": {"type": "overloaded_error", "message": "m"}},
            ErrorEvent("overloaded_error"),
        ),
        (
            {"type": "error", "code": "server_error", "message": "m"},
            ErrorEvent("error", "server_error"),
        ),
        (
            {"error": {"code": 500, "message": "m", "type": "server_error"}},
            ErrorEvent("server_error", 500),
        ),
    ],
)
def test_errors_in_every_shape(payload: Any, event: Event) -> None:
    """Anthropic's, OpenAI's, and llama.cpp's without a type, with an event line or without."""
    assert read(payload) == [event]
    assert TypedDialect().read(named(payload, "error")) == [event]


class TestOversize:
    """Records above the cap, of which there are the two ends."""

    def test_the_terminator_repeats_the_answer(self) -> None:
        """The largest record of a stream is its last, and must not be missed."""
        payload = {
            "type": "response.completed",
            "response": {
                "id": "r",
                "status": "completed",
                "output": [{"type": "message", "content": [{"type": "output_text", "text": LONG}]}],
                "usage": {"input_tokens": 9, "output_tokens": 5, "total_tokens": 14},
            },
        }
        events = [UNREAD, UsageEvent(5, 9), FinishEvent(0, "completed"), END]

        assert read(oversize(payload)) == events
        assert read(oversize(payload, "response.completed")) == events

    def test_a_type_at_the_end(self) -> None:
        """A writer that sorts its keys puts the type behind the answer."""
        payload = {
            "response": {"output": [{"type": "message", "text": LONG}]},
            "sequence_number": 7,
            "type": "response.incomplete",
        }

        assert read(oversize(payload)) == [UNREAD, FinishEvent(0, "incomplete"), END]

    def test_a_failure(self) -> None:
        """A response that failed after much output failed."""
        payload = {"type": "response.failed", "response": {"status": "failed", "output": LONG}}

        assert read(oversize(payload)) == [UNREAD, ErrorEvent(), FinishEvent(0, "failed"), END]

    def test_lm_studio(self) -> None:
        """Its totals are in the statistics."""
        stats = {"input_tokens": 9, "total_output_tokens": 5}
        payload = {"type": "chat.end", "result": {"output": LONG, "stats": stats}}

        assert read(oversize(payload)) == [
            *(UNREAD, UsageEvent(5, 9, TokenSource.STATS), FinishEvent(0, "end"), END),
        ]

    @pytest.mark.parametrize(
        ("payload", "event", "events"),
        [
            ({"type": "response.output_text.delta", "delta": LONG}, "", [TokenEvent()]),
            ({"delta": LONG}, "response.output_text.delta", [TokenEvent()]),
            ({"type": "content_block_delta", "delta": {"signature": LONG}}, "", []),
            ({"type": "speech.audio.delta", "audio": LONG}, "", [TokenEvent()]),
            (
                {
                    "type": "content_block_start",
                    "content_block": {"type": "tool_use", "input": LONG},
                },
                "",
                [TokenEvent()],
            ),
            (
                {"type": "content_block_start", "content_block": {"type": "web_search", "x": LONG}},
                "",
                [],
            ),
            ({"type": "error", "message": LONG}, "", [ErrorEvent()]),
            ({"type": "response.output_item.done", "item": {"content": LONG}}, "", []),
            (
                {"type": "response.output_item.done", "item": {"type": "error", "content": LONG}},
                "response.output_item.done",
                [],
            ),
            ({"other": LONG}, "", []),
        ],
    )
    def test_other_kinds(self, payload: Any, event: str, events: list[Event]) -> None:
        """Deltas, calls and errors are seen by their heads; snapshots say nothing."""
        assert read(oversize(payload, event)) == [UNREAD, *events]
