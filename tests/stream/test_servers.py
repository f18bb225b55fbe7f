"""Whole streams of servers with habits, through framing, dialect and timeline.

The n-th record of a stream comes at n milliseconds, so that TTFT names the record that showed the
first token. Bodies are written from the servers' sources and documentation.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from goodput_proxy.faults import MeterFault
from goodput_proxy.record import End, Outcome
from goodput_proxy.stream import find_endpoint, make_dialect, make_framer
from goodput_proxy.stream.events import FinishEvent, TokenSource
from goodput_proxy.stream.framing import MAX_RECORD_BYTES
from goodput_proxy.timeline import Timeline

if TYPE_CHECKING:
    from collections.abc import Callable

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
SSE, NDJSON = "text/event-stream", "application/x-ndjson"
MS = 1_000_000
DONE = b"data: [DONE]\n\n"
HUGE = "x" * (2 * MAX_RECORD_BYTES)


def data(*payloads: Any, spaced: bool = False) -> bytes:
    """Return an event of bare data for each payload."""
    separators = None if spaced else (",", ":")
    return b"".join(
        b"data: %b\n\n" % json.dumps(payload, separators=separators).encode()
        for payload in payloads
    )


def events(*payloads: dict[str, Any]) -> bytes:
    """Return a named event for each payload that has a type."""
    return b"".join(
        b"event: %b\ndata: %b\n\n" % (payload["type"].encode(), json.dumps(payload).encode())
        for payload in payloads
    )


def lines(*payloads: Any) -> bytes:
    """Return a line for each payload."""
    return b"".join(
        json.dumps(payload, separators=(",", ":")).encode() + b"\n" for payload in payloads
    )


def delta(content: Any, finish: str | None = None, index: int = 0, **more: Any) -> dict[str, Any]:
    """Return a chat record of one choice."""
    choice = {"index": index, "delta": content, "finish_reason": finish}
    return {"id": "1", "object": "chat.completion.chunk", "choices": [choice], **more}


def text(content: str, finish: str | None = None, index: int = 0, **more: Any) -> dict[str, Any]:
    """Return a completions record of one choice."""
    return {"choices": [{"index": index, "text": content, "finish_reason": finish}], **more}


@dataclass(frozen=True)
class Found:
    """What was made of a stream."""

    outcome: Outcome
    first: int | None  # the record that showed the first token, counted from 0
    tokens: int
    source: TokenSource
    finishes: list[str]


def play(
    path: str, body: bytes, media_type: str = SSE, end: End = End.CLEAN, cut: int = 0, **asked: bool
) -> Found:
    """Return what is made of a body; every error of the meter but size fails the test."""
    endpoint = find_endpoint(path)
    assert endpoint is not None
    framer = make_framer(endpoint, media_type, MAX_RECORD_BYTES)
    assert framer is not None
    options = {"generates": True, "echo": False, **asked}
    dialect = make_dialect(endpoint, **options)
    timeline = Timeline(0, ())
    timeline.streamed = True
    finishes: list[str] = []
    reads = [body[i : i + cut] for i in range(0, len(body), cut)] if cut else [body]
    records = [record for read in reads for record in framer.feed(read)]
    for index, record in enumerate([*records, *framer.finish()]):
        for event in dialect.read(record):
            timeline.add(event, index * MS)
            if isinstance(event, FinishEvent):
                finishes.append(event.reason)
    said = timeline.record(
        status=200,
        end=end,
        end_ns=10**9,
        last_byte_ns=10**9,
        generates=bool(options["generates"]),
    )
    assert said.unclassified.keys() <= {MeterFault.OVERSIZE_RECORD}
    first = None if said.ttft_ns is None else said.ttft_ns // MS
    return Found(said.outcome, first, said.output_tokens, said.token_source, finishes)


def stream(*arguments: Any, **keywords: Any) -> Callable[..., Found]:
    """Return what plays a stream when it is called."""
    return partial(play, *arguments, **keywords)


OK, FAILED, TRUNCATED = Outcome.OK, Outcome.STREAM_ERROR, Outcome.TRUNCATED
EVENTS, USAGE, META_INFO = TokenSource.EVENTS, TokenSource.USAGE, TokenSource.META_INFO


def sglang(output: str, tokens: int, finish: Any = None) -> dict[str, Any]:
    """Return a snapshot of SGLang's `/generate`."""
    meta = {"id": "1", "finish_reason": finish, "prompt_tokens": 5, "completion_tokens": tokens}
    return {"text": output, "output_ids": list(range(tokens)), "meta_info": meta}


def mlc(first: str | None, second: str | None, finish: str | None = None) -> dict[str, Any]:
    """Return a record of MLC: both choices of a step, all keys there."""
    return {
        "choices": [
            {
                "index": i,
                "finish_reason": finish,
                "delta": {"role": "assistant", "content": c, "name": None, "tool_calls": None},
            }
            for i, c in enumerate((first, second))
            if c is not None
        ],
        "usage": None,
    }


def response(kind: str, output: str = "", **more: Any) -> dict[str, Any]:
    """Return an event with the whole response in it."""
    content = [{"type": "output_text", "text": output}]
    inner = {"id": "r", "status": kind, "output": [{"type": "message", "content": content}]}
    return {"type": f"response.{kind}", "response": {**inner, **more}}


OLD_VLLM = lines({"text": ["Hi "]}, {"text": ["Hi you"]}, {"text": ["Hi you"]})
TOOL_CALL = {
    "index": 0,
    "id": "call_1",
    "type": "function",
    "function": {"name": "f", "arguments": '{"city":"Ulm"}'},
}

STREAMS = {
    "old_vllm_without_a_content_type": (
        stream("/generate", OLD_VLLM, ""),
        Found(OK, 0, 2, EVENTS, []),
    ),
    "old_vllm_with_a_prompt_above_the_cap": (
        stream("/generate", lines({"text": [HUGE]}, {"text": [HUGE + "a"]}), ""),
        Found(OK, None, 0, EVENTS, []),
    ),
    "kserve": (
        stream(
            "/openai/v1/chat/completions", data(delta({"content": "a"}), delta({}, "stop")) + DONE
        ),
        Found(OK, 0, 1, EVENTS, ["stop"]),
    ),
    "vllm_role_and_reasoning": (
        stream(
            CHAT,
            data(
                delta({"role": "assistant", "content": ""}),
                delta({"reasoning": "a"}),
                delta({"content": "b"}),
                delta({"content": ""}, "stop"),
                {"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 9}},
            )
            + DONE,
        ),
        Found(OK, 1, 9, USAGE, ["stop"]),
    ),
    "vllm_first_record_with_a_long_prompt": (
        stream(
            CHAT,
            data(
                {**delta({"role": "assistant", "content": ""}), "prompt_token_ids": [7] * 30_000},
                delta({"content": "a"}),
                delta({}, "stop"),
            )
            + DONE,
        ),
        Found(OK, 1, 1, EVENTS, ["stop"]),
    ),
    "vllm_done_after_an_error": (
        stream(
            CHAT,
            data(delta({"content": "a"}), {"error": {"message": "m", "code": 500}}) + DONE,
        ),
        Found(FAILED, 0, 1, EVENTS, []),
    ),
    "an_error_above_the_cap_before_done": (
        stream(CHAT, data(delta({"content": "a"}), {"error": {"message": HUGE}}) + DONE),
        Found(FAILED, 0, 1, EVENTS, []),
    ),
    "vllm_token_ids_without_text": (
        stream(
            "/inference/v1/generate",
            data(
                {"choices": [{"index": 0, "token_ids": [1, 2]}]},
                {"choices": [{"index": 0, "token_ids": [3], "finish_reason": "stop"}]},
            )
            + DONE,
        ),
        Found(OK, 0, 3, TokenSource.TOKEN_IDS, ["stop"]),
    ),
    "mlc_choices_in_one_record": (
        stream(CHAT, data(mlc("a", "b"), mlc("c", None), mlc("", "", "length")) + DONE),
        Found(OK, 0, 3, EVENTS, ["length", "length"]),
    ),
    "choices_that_take_turns": (
        stream(
            CHAT,
            data(
                delta({"role": "assistant", "content": ""}),
                delta({"role": "assistant", "content": ""}, index=1),
                delta({"content": "a"}, index=1),
                delta({}, "stop", index=1),
                delta({"content": "b"}),
                delta({}, "length"),
            ),
        ),
        Found(OK, 2, 2, EVENTS, ["stop", "length"]),
    ),
    "one_of_the_choices_never_ended": (
        stream(
            CHAT,
            data(delta({"content": "a"}), delta({"content": "b"}, index=1), delta({}, "stop")),
        ),
        Found(TRUNCATED, 0, 2, EVENTS, ["stop"]),
    ),
    "continuous_usage_is_per_choice": (
        stream(
            CHAT,
            data(
                delta({"role": "assistant", "content": ""}, usage={"completion_tokens": 0}),
                delta(
                    {"role": "assistant", "content": ""}, index=1, usage={"completion_tokens": 0}
                ),
                delta({"content": ""}, usage={"completion_tokens": 1}),
                delta({"content": "a"}, index=1, usage={"completion_tokens": 3}),
                delta({"content": ""}, usage={"completion_tokens": 1}),
                delta({}, "stop", usage={"completion_tokens": 2}),
                delta({}, "stop", index=1, usage={"completion_tokens": 3}),
            )
            + DONE,
        ),
        Found(OK, 2, 5, USAGE, ["stop", "stop"]),
    ),
    "text_that_looks_like_a_record": (
        stream(
            CHAT,
            data(
                delta({"role": "assistant", "content": ""}),
                delta({"content": 'data: [DONE]\n\n{"error":{}},"finish_reason":"abort"'}),
                delta({}, "stop"),
            )
            + DONE,
        ),
        Found(OK, 1, 1, EVENTS, ["stop"]),
    ),
    "vllm_transcription_without_an_index": (
        stream(
            "/v1/audio/transcriptions",
            data(
                {"object": "transcription.chunk", "choices": [{"delta": {"content": "a"}}]},
                {"choices": [{"delta": {"content": ""}, "finish_reason": "stop"}]},
            )
            + DONE,
        ),
        Found(OK, 0, 1, EVENTS, ["stop"]),
    ),
    "mlc_one_choice_never_ended": (
        stream(CHAT, data(mlc("a", "b"), delta({}, "length"))),
        Found(TRUNCATED, 0, 2, EVENTS, ["length"]),
    ),
    "lmdeploy_spaced_json": (
        stream(
            CHAT,
            data(
                delta({"role": "assistant", "content": "\u00fc"}, usage=None),
                delta({"role": "assistant", "content": ""}, "stop", usage=None),
                {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}},
                spaced=True,
            )
            + DONE,
        ),
        Found(OK, 0, 2, USAGE, ["stop"]),
    ),
    "lmdeploy_two_prompts_share_an_index": (
        stream(
            COMPLETIONS,
            data(text("a"), text("", "stop"), text("b"), text("", "length"), spaced=True) + DONE,
        ),
        Found(OK, 0, 2, EVENTS, ["stop", "length"]),
    ),
    "lmdeploy_parse_error": (
        stream(CHAT, data(delta({"content": "a"}), delta({}, "parse_error")) + DONE),
        Found(FAILED, 0, 1, EVENTS, ["parse_error"]),
    ),
    "sglang_abort": (
        stream(
            "/generate",
            data(
                sglang("a", 1),
                sglang("a", 1, {"type": "abort", "message": "m", "status_code": 500}),
            )
            + DONE,
        ),
        Found(FAILED, 0, 1, META_INFO, ["abort"]),
    ),
    "sglang_null_reasoning_in_each_delta": (
        stream(
            CHAT,
            data(
                delta({"role": "assistant", "content": "", "reasoning_content": None}),
                delta({"content": None, "reasoning_content": "a", "tool_calls": None}),
                delta({"content": None, "reasoning_content": None}, "stop"),
            )
            + DONE,
        ),
        Found(OK, 1, 1, EVENTS, ["stop"]),
    ),
    "sglang_snapshots_above_4_kb": (
        stream(
            "/generate",
            data(
                sglang("", 0),
                *(sglang("x" * 5 * n, n) for n in range(1000, 1010)),
                sglang("x" * 5049, 1010, {"type": "stop", "matched": 2}),
            )
            + DONE,
        ),
        Found(OK, 1, 1010, META_INFO, ["stop"]),
    ),
    "sglang_snapshots_above_the_cap": (
        stream(
            "/generate",
            data(
                sglang("a", 1),
                *(sglang(HUGE, n) for n in (200, 300)),
                sglang(HUGE, 400, {"type": "length", "length": 400}),
            )
            + DONE,
        ),
        Found(OK, 0, 400, META_INFO, ["length"]),
    ),
    "sglang_first_snapshot_above_the_cap": (
        stream(
            "/generate",
            data(sglang(HUGE, 300), sglang(HUGE, 400, {"type": "length", "length": 400})) + DONE,
        ),
        Found(OK, 0, 400, META_INFO, ["length"]),
    ),
    "sglang_message_stop_after_an_error": (
        stream(
            "/v1/messages",
            events(
                {"type": "message_start", "message": {"usage": {"input_tokens": 1}}},
                {"type": "error", "error": {"type": "api_error", "message": "m"}},
                {"type": "message_stop"},
            ),
        ),
        Found(FAILED, None, 0, EVENTS, []),
    ),
    "dynamo_error_without_data": (
        stream(CHAT, data(delta({"content": "a"})) + b"event: error\n: lost a worker\n\n" + DONE),
        Found(FAILED, 0, 1, EVENTS, []),
    ),
    "ollama_swallowed_error": (
        stream(
            CHAT,
            data(
                delta({"role": "assistant", "content": "a"}),
                {"model": "", "choices": [{"index": 0, "delta": {"content": ""}}]},
            ),
        ),
        Found(TRUNCATED, 0, 1, EVENTS, []),
    ),
    "ollama_swallowed_error_before_any_text": (
        stream(CHAT, data({"model": "", "choices": [{"index": 0, "delta": {"content": ""}}]})),
        Found(TRUNCATED, None, 0, EVENTS, []),
    ),
    "ollama_error_line": (
        stream("/api/chat", lines({"message": {"content": "a"}}, {"error": "m"}), NDJSON),
        Found(FAILED, 0, 1, EVENTS, []),
    ),
    "ollama_last_record_above_the_cap": (
        stream(
            "/api/generate",
            lines(
                {"response": "a", "done": False},
                {
                    "response": "",
                    "done": True,
                    "done_reason": "length",
                    "context": list(range(10_000)),
                    "eval_count": 7,
                },
            ),
            NDJSON,
        ),
        Found(OK, 0, 7, TokenSource.EVAL_COUNT, ["length"]),
    ),
    "azure_prompt_filter_and_annotations": (
        stream(
            CHAT,
            data(
                {"choices": [], "prompt_filter_results": [{"prompt_index": 0}], "model": ""},
                delta({"role": "assistant", "content": ""}),
                delta({"content": "a"}),
                delta({}, "stop"),
                {
                    "choices": [
                        {
                            "index": 0,
                            "finish_reason": None,
                            "content_filter_offsets": {"check_offset": 1},
                            "content_filter_results": {"hate": {"severity": "safe"}},
                        }
                    ]
                },
            )
            + DONE,
        ),
        Found(OK, 2, 1, EVENTS, ["stop"]),
    ),
    "openrouter_comments": (
        stream(
            CHAT,
            b": OPENROUTER PROCESSING\n\n" * 3
            + data(delta({"role": "assistant", "content": "a"}), delta({"content": ""}, "stop"))
            + b": OPENROUTER PROCESSING\n\n"
            + DONE,
        ),
        Found(OK, 0, 1, EVENTS, ["stop"]),
    ),
    "openrouter_error": (
        stream(
            CHAT,
            data(delta({"content": "a"}), delta({"content": ""}, "error", error={"code": 502}))
            + DONE,
        ),
        Found(FAILED, 0, 1, EVENTS, []),
    ),
    "lm_studio": (
        stream(
            "/api/v1/chat",
            events(
                {"type": "chat.start", "model_instance_id": "m"},
                {"type": "model_load.start", "model_instance_id": "m"},
                {"type": "model_load.progress", "model_instance_id": "m", "progress": 0.5},
                {"type": "model_load.end", "model_instance_id": "m", "load_time_seconds": 2.5},
                {"type": "prompt_processing.start"},
                {"type": "prompt_processing.progress", "progress": 0.5},
                {"type": "prompt_processing.end"},
                {"type": "reasoning.start"},
                {"type": "reasoning.delta", "content": "a"},
                {"type": "reasoning.end"},
                {"type": "message.start"},
                {"type": "message.delta", "content": "b"},
                {"type": "message.end"},
                {
                    "type": "chat.end",
                    "result": {
                        "output": [{"type": "message", "content": "ab"}],
                        "stats": {"input_tokens": 5, "total_output_tokens": 3},
                    },
                },
            ),
        ),
        Found(OK, 8, 3, TokenSource.STATS, []),
    ),
    "openai_obfuscation": (
        stream(
            CHAT,
            data(
                delta({"role": "assistant", "content": ""}, obfuscation="abc", usage=None),
                delta({"content": "a"}, obfuscation="abcdef", usage=None),
                delta({}, "stop", obfuscation="ab", usage=None),
                {"choices": [], "usage": {"completion_tokens": 1}, "obfuscation": "abc"},
            )
            + DONE,
        ),
        Found(OK, 1, 1, USAGE, ["stop"]),
    ),
    "openai_responses": (
        stream(
            "/v1/responses",
            events(
                response("created"),
                response("in_progress"),
                {"type": "response.output_item.added", "item": {"type": "message"}},
                {"type": "response.output_text.delta", "delta": "", "obfuscation": "abc"},
                {"type": "response.output_text.delta", "delta": "a", "obfuscation": "abc"},
                {"type": "response.output_text.done", "text": "a"},
                {"type": "response.output_item.done", "item": {"content": [{"text": "a"}]}},
                response("completed", "a", usage={"input_tokens": 5, "output_tokens": 2}),
            ),
        ),
        Found(OK, 4, 2, USAGE, ["completed"]),
    ),
    "responses_completed_above_the_cap": (
        stream(
            "/v1/responses",
            events(
                response("created"),
                {"type": "response.output_text.delta", "delta": "a"},
                response("completed", HUGE, usage={"input_tokens": 5, "output_tokens": 9000}),
            ),
        ),
        Found(OK, 1, 9000, USAGE, ["completed"]),
    ),
    "responses_failed_above_the_cap": (
        stream(
            "/v1/responses",
            events({"type": "response.output_text.delta", "delta": "a"}, response("failed", HUGE)),
        ),
        Found(FAILED, 0, 1, EVENTS, ["failed"]),
    ),
    "sglang_responses_held_back_to_the_end": (
        stream(
            "/v1/responses",
            events(
                response("created"),
                response("in_progress"),
                {"type": "response.function_call_arguments.delta", "delta": "{}"},
                response("completed", "a"),
            ),
        ),
        Found(OK, 2, 1, EVENTS, ["completed"]),
    ),
    "anthropic": (
        stream(
            "/v1/messages",
            events(
                {
                    "type": "message_start",
                    "message": {"usage": {"input_tokens": 5, "output_tokens": 1}},
                },
                {"type": "ping"},
                {"type": "content_block_start", "content_block": {"type": "thinking"}},
                {
                    "type": "content_block_delta",
                    "delta": {"type": "thinking_delta", "thinking": "a"},
                },
                {
                    "type": "content_block_delta",
                    "delta": {"type": "signature_delta", "signature": "abc"},
                },
                {"type": "content_block_stop"},
                {
                    "type": "content_block_delta",
                    "delta": {"type": "citations_delta", "citation": {"cited_text": "abc"}},
                },
                {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "b"}},
                {
                    "type": "message_delta",
                    "delta": {"stop_reason": "end_turn"},
                    "usage": {"output_tokens": 12},
                },
                {"type": "message_stop"},
            ),
        ),
        Found(OK, 3, 12, USAGE, ["end_turn"]),
    ),
    "anthropic_tool_use": (
        stream(
            "/v1/messages",
            events(
                {"type": "message_start", "message": {}},
                {
                    "type": "content_block_start",
                    "content_block": {"type": "tool_use", "id": "t", "name": "f", "input": {}},
                },
                {
                    "type": "content_block_delta",
                    "delta": {"type": "input_json_delta", "partial_json": ""},
                },
                {
                    "type": "content_block_delta",
                    "delta": {"type": "input_json_delta", "partial_json": "{}"},
                },
                {"type": "message_delta", "delta": {"stop_reason": "tool_use"}},
                {"type": "message_stop"},
            ),
        ),
        Found(OK, 1, 2, EVENTS, ["tool_use"]),
    ),
    "llamacpp_progress": (
        stream(
            "/completion",
            data(
                *(
                    {
                        "index": 0,
                        "content": "",
                        "tokens": [0],
                        "stop": False,
                        "tokens_predicted": 0,
                        "prompt_progress": {"total": 9, "processed": n},
                    }
                    for n in (3, 9)
                ),
                {"content": "a", "tokens": [7], "stop": False, "tokens_predicted": 1},
                {"content": "", "stop": True, "stop_type": "eos", "tokens_predicted": 2},
            ),
        ),
        Found(OK, 2, 2, TokenSource.TOKENS_PREDICTED, ["eos"]),
    ),
    "llamacpp_last_record_above_the_cap": (
        stream(
            "/completion",
            data(
                {"content": "a", "stop": False, "tokens_predicted": 1},
                {
                    "content": "",
                    "stop": True,
                    "tokens_predicted": 2,
                    "prompt": HUGE,
                    "stop_type": "limit",
                },
            ),
        ),
        Found(OK, 0, 2, TokenSource.TOKENS_PREDICTED, ["limit"]),
    ),
    "llamacpp_native_under_completions": (
        stream(
            "/completions",
            data(
                {"content": "a", "stop": False, "tokens_predicted": 1},
                {"content": "", "stop": True, "stop_type": "limit", "tokens_predicted": 1},
            ),
        ),
        Found(OK, 0, 1, TokenSource.TOKENS_PREDICTED, ["limit"]),
    ),
    "llamacpp_error_and_no_done": (
        stream(CHAT, data(delta({"content": "a"}), {"error": {"code": 500, "message": "m"}})),
        Found(FAILED, 0, 1, EVENTS, []),
    ),
    "a_whole_tool_call": (
        stream(
            CHAT,
            data(
                delta({"role": "assistant", "content": None, "tool_calls": [TOOL_CALL]}),
                delta({}, "tool_calls"),
            )
            + DONE,
        ),
        Found(OK, 0, 1, EVENTS, ["tool_calls"]),
    ),
    "a_whole_tool_call_above_the_cap": (
        stream(
            CHAT,
            data(
                delta({"role": "assistant", "content": None}),
                delta({"tool_calls": [{**TOOL_CALL, "index": 3, "x": HUGE}]}, index=1),
                delta({}, "tool_calls", index=1),
            ),
        ),
        Found(OK, 1, 1, EVENTS, ["tool_calls"]),
    ),
    "ollama_tool_call_with_object_arguments": (
        stream(
            "/api/chat",
            lines(
                {
                    "message": {
                        "content": "",
                        "tool_calls": [{"function": {"name": "f", "arguments": {"x": HUGE}}}],
                    },
                    "done": False,
                },
                {"message": {"content": ""}, "done": True, "done_reason": "stop", "eval_count": 5},
            ),
            NDJSON,
        ),
        Found(OK, 0, 5, TokenSource.EVAL_COUNT, ["stop"]),
    ),
    "tgi_last_record_above_the_cap": (
        stream(
            "/generate_stream",
            data(
                {"token": {"id": 1, "text": "a", "special": False}, "generated_text": None},
                {
                    "token": {"id": 2, "text": "</s>", "special": True},
                    "generated_text": HUGE,
                    "details": {"finish_reason": "eos_token", "generated_tokens": 2},
                },
            ),
        ),
        Found(OK, 0, 2, TokenSource.DETAILS, ["eos_token"]),
    ),
    "tgi_overloaded_in_a_200": (
        stream(
            "/generate_stream",
            b'data:{"error":"Model is overloaded","error_type":"overloaded"}\n\n',
        ),
        Found(FAILED, None, 0, EVENTS, []),
    ),
    "tgi_done_after_an_error": (
        stream(
            CHAT,
            data(delta({"content": "a"}), {"error": {"message": "m", "http_status_code": 422}})
            + DONE,
        ),
        Found(FAILED, 0, 1, EVENTS, []),
    ),
    "tgi_completions_with_embedded_usage": (
        stream(
            COMPLETIONS,
            data(
                text("a", ""),
                text("b", "length", usage={"prompt_tokens": 1, "completion_tokens": 2}),
            )
            + DONE,
        ),
        Found(OK, 0, 2, USAGE, ["length"]),
    ),
    "trtllm_trailing_space": (
        stream(
            CHAT,
            data(delta({"role": "assistant", "content": ""})).replace(b"\n\n", b" \n\n")
            + data(delta({"content": "a", "reasoning_content": ""}), delta({}, "stop"))
            + DONE,
        ),
        Found(OK, 1, 1, EVENTS, ["stop"]),
    ),
    "transformers_without_done": (
        stream(
            CHAT,
            data(
                delta({"role": "assistant"}),
                delta({"content": "a"}),
                delta({}, "stop", usage={"prompt_tokens": 5, "completion_tokens": 4}),
            ),
        ),
        Found(OK, 1, 4, USAGE, ["stop"]),
    ),
    "llama_cpp_python_preempted": (
        stream(
            CHAT, b": ping\r\n\r\n" + data(delta({"content": "a"}), delta({}, "preempt")) + DONE
        ),
        Found(FAILED, 0, 1, EVENTS, ["preempt"]),
    ),
    "cohere_error_in_the_last_event": (
        stream(
            "/cohere/v2/chat",
            data(
                {"type": "message-start", "delta": {"message": {"role": "assistant"}}},
                {"type": "content-delta", "delta": {"message": {"content": {"text": "a"}}}},
                {"type": "message-end", "delta": {"finish_reason": "ERROR", "error": "m"}},
            )
            + DONE,
        ),
        Found(FAILED, 1, 1, EVENTS, ["ERROR"]),
    ),
    "triton_ends_with_its_body": (
        stream(
            "/v2/models/m/generate_stream",
            data(
                {"model_name": "m", "model_version": "1", "text_output": "a"},
                {"model_name": "m", "model_version": "1", "text_output": ""},
            ),
        ),
        Found(OK, 0, 1, EVENTS, []),
    ),
    "triton_error": (
        stream("/v2/models/m/generate_stream", data({"text_output": "a"}, {"error": "m"})),
        Found(FAILED, 0, 1, EVENTS, []),
    ),
    "gemini_image_above_the_cap": (
        stream(
            "/v1beta/models/m:streamGenerateContent",
            b"["
            + json.dumps(
                {
                    "candidates": [
                        {
                            "content": {"parts": [{"inlineData": {"mimeType": "x", "data": HUGE}}]},
                            "finishReason": "STOP",
                        }
                    ],
                    "usageMetadata": {"candidatesTokenCount": 1290, "promptTokenCount": 5},
                }
            ).encode()
            + b"]",
            "application/json",
        ),
        Found(OK, 0, 1290, USAGE, ["STOP"]),
    ),
    "gemini_bare_error": (
        stream(
            "/v1beta/models/m:streamGenerateContent",
            b'{\n  "error": {\n    "code": 503,\n    "status": "UNAVAILABLE"\n  }\n}\n',
            "application/json",
        ),
        Found(FAILED, None, 0, EVENTS, []),
    ),
    "speech_as_events": (
        stream(
            "/v1/audio/speech",
            data(
                {"type": "speech.audio.delta", "audio": "UklG"},
                {"type": "speech.audio.done", "usage": {"input_tokens": 5, "output_tokens": 40}},
            ),
        ),
        Found(OK, 0, 40, USAGE, []),
    ),
    "an_aborted_body": (
        stream(CHAT, data(delta({"content": "a"})), end=End.CUT),
        Found(TRUNCATED, 0, 1, EVENTS, []),
    ),
    "a_client_that_leaves_after_the_terminator": (
        stream(CHAT, data(delta({"content": "a"}), delta({}, "stop")) + DONE, end=End.CLIENT_LEFT),
        Found(OK, 0, 1, EVENTS, ["stop"]),
    ),
    "a_client_that_leaves_before": (
        stream(CHAT, data(delta({"content": "a"})), end=End.CLIENT_LEFT),
        Found(Outcome.CLIENT, 0, 1, EVENTS, []),
    ),
    "complete_though_filtered": (
        stream(CHAT, data(delta({"content": "a"}), delta({}, "content_filter")) + DONE),
        Found(OK, 0, 1, EVENTS, ["content_filter"]),
    ),
    "complete_though_repeating_itself": (
        stream(CHAT, data(delta({"content": "a"}), delta({}, "repetition")) + DONE),
        Found(OK, 0, 1, EVENTS, ["repetition"]),
    ),
    "done_without_output": (
        stream(CHAT, data(delta({"role": "assistant", "content": ""}), delta({}, "stop")) + DONE),
        Found(Outcome.EMPTY, None, 0, EVENTS, ["stop"]),
    ),
    "an_echo_that_nobody_generated": (
        stream(COMPLETIONS, data(text("prompt", "length")) + DONE, generates=False, echo=True),
        Found(OK, None, 0, EVENTS, ["length"]),
    ),
    "ollama_loads_a_model": (
        stream(
            "/api/generate", lines({"response": "", "done": True, "done_reason": "load"}), NDJSON
        ),
        Found(OK, None, 0, EVENTS, ["load"]),
    ),
}


@pytest.mark.parametrize("name", STREAMS)
def test_habits(name: str) -> None:
    """Outcome, first token, count and finish are what the server meant, under any split."""
    find, expected = STREAMS[name]

    assert find() == expected
    assert find(cut=11) == expected
