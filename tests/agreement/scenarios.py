"""Answers on which tools disagree, with what each of them makes of one, and why.

What is expected of the other tools was found by running them; it is a list of known disagreements,
and whatever is not on it fails the comparison. What is expected of the proxy is its contract.
Limits are wide: nothing here is slow.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from tests.agreement.wire import (
    DONE,
    PING,
    ROLE,
    End,
    Script,
    Write,
    closing,
    delta,
    error,
    every,
    text,
)

GOOD, NOT_GOOD, ERROR = "good", "not good", "error"  # what AIPerf makes of a request
OK, FAILED = "ok", "failed"  # what vLLM's client does
TTFT_LIMIT_MS = 2000.0
ITL_LIMIT_MS = 500.0


@dataclass(frozen=True, slots=True)
class Times:
    """What a tool should measure of a script; None where it has no such value."""

    ttft_ms: float | None = None
    e2e_ms: float | None = None
    itl_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Scenario:
    """One script, and what it is in the eyes of each tool.

    Args:
        number: its place in the table.
        name: what happens.
        script: what the server sends.
        verdict: the proxy's, with its cause.
        times: what the proxy measures.
        aiperf: AIPerf's, as it counts tokens by default, and by the server's usage.
        vllm: vLLM's client's.
        aiperf_ttft_ms: where AIPerf sees another first token.
        vllm_ttft_ms: where vLLM's client does.
        why: what makes the difference, or that there is none.
    """

    number: int
    name: str
    script: Script
    verdict: str
    times: Times
    aiperf: tuple[str, str]
    vllm: str
    why: str
    aiperf_ttft_ms: float | None = None
    vllm_ttft_ms: float | None = None

    @property
    def prompt(self) -> str:
        """What asks for it."""
        return f"scenario {self.number}"


_STREAM_OF_TEN = (*every(20, *(text(i) for i in range(10)), start_ms=200), *closing(480, 10))
_THREE = tuple(every(20, *(text(i) for i in range(3)), start_ms=200))
_JSON = json.dumps(
    {
        "object": "chat.completion",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "w0 w1 w2"}}],
        "usage": {"prompt_tokens": 2, "completion_tokens": 3, "total_tokens": 5},
    }
).encode()


def _call(**function: str) -> bytes:
    return delta(tool_calls=[{"index": 0, "function": function}])


SCENARIOS = (
    Scenario(
        1,
        "role record at 50 ms, ten tokens from 200 ms on",
        Script((Write(50, ROLE), *_STREAM_OF_TEN)),
        verdict="good",
        times=Times(200, 380, 20),
        aiperf=(GOOD, GOOD),
        vllm=OK,
        why="none: a role is no token, and the usage record is not the end",
    ),
    Scenario(
        2,
        "one token",
        Script((Write(50, ROLE), Write(200, text(0)), *closing(300, 1))),
        verdict="good_partial",
        times=Times(200, 200),
        aiperf=(GOOD, NOT_GOOD),
        vllm=OK,
        why="one token has no ITL. vLLM takes 0, AIPerf calls it not good; by another tokenizer the"
        " same text is several tokens",
    ),
    Scenario(
        3,
        "`data: {error}` after three tokens, then `[DONE]`",
        Script((Write(50, ROLE), *_THREE, Write(260, error()), Write(260, DONE))),
        verdict="error stream_error",
        times=Times(200, 240, 20),
        aiperf=(GOOD, NOT_GOOD),
        vllm=OK,
        why="the server gave up: an error record inside a 200 is an error. The others pass over it;"
        " AIPerf misses only the usage, when it is to count by it",
    ),
    Scenario(
        4,
        "`event: error` after three tokens",
        Script((Write(50, ROLE), *_THREE, Write(260, error("error")))),
        verdict="error stream_error",
        times=Times(200, 240, 20),
        aiperf=(ERROR, ERROR),
        vllm=FAILED,
        why="none; vLLM's client fails because the line is no JSON to it",
    ),
    Scenario(
        5,
        "the connection is reset after three tokens",
        Script((Write(50, ROLE), *_THREE, Write(260, PING)), end=End.ABORT),
        verdict="error truncated",
        times=Times(200, 240, 20),
        aiperf=(ERROR, ERROR),
        vllm=FAILED,
        why="none",
    ),
    Scenario(
        6,
        "role, finish reason and usage, but no output",
        Script((Write(50, ROLE), *closing(200, 0))),
        verdict="error empty",
        times=Times(),
        aiperf=(ERROR, ERROR),
        vllm=FAILED,
        why="none",
    ),
    Scenario(
        7,
        "comments at 50 and 100 ms before the role",
        Script((Write(50, PING), Write(100, PING), Write(150, ROLE), *_STREAM_OF_TEN)),
        verdict="good",
        times=Times(200, 380, 20),
        aiperf=(GOOD, GOOD),
        vllm=OK,
        why="none: a comment is no token",
    ),
    Scenario(
        8,
        "`reasoning_content` at 100 ms, content from 300 ms on",
        Script(
            (
                Write(50, ROLE),
                Write(100, delta(reasoning_content=" hm")),
                *every(20, *(text(i) for i in range(10)), start_ms=300),
                *closing(580, 11),
            )
        ),
        verdict="good",
        times=Times(100, 480, 38),
        aiperf=(GOOD, GOOD),
        vllm=OK,
        vllm_ttft_ms=300,
        why="reasoning is generated output under any of its names; vLLM's client knows `reasoning`"
        " only",
    ),
    Scenario(
        9,
        "a tool call: its name, then five pieces of its arguments",
        Script(
            (
                Write(50, ROLE),
                *every(20, _call(name="f"), *[_call(arguments="{}")] * 5, start_ms=200),
                *closing(400, 6),
            )
        ),
        verdict="good",
        times=Times(200, 300, 20),
        aiperf=(GOOD, GOOD),
        vllm=OK,
        why="none: tool calls are generated output",
    ),
    Scenario(
        10,
        "a token, then nine records in one write",
        Script(
            (
                Write(50, ROLE),
                Write(200, text(0)),
                Write(380, b"".join(text(i) for i in range(1, 10))),
                *closing(480, 10),
            )
        ),
        verdict="good",
        times=Times(200, 380, 20),
        aiperf=(GOOD, GOOD),
        vllm=OK,
        why="none in the mean; the stall, which only this proxy judges, is 180 ms",
    ),
    Scenario(
        11,
        "three records of four tokens each, 80 ms apart",
        Script(
            (
                Write(50, ROLE),
                *every(80, *(text(i, 4) for i in range(3)), start_ms=200),
                *closing(460, 12),
            )
        ),
        verdict="good",
        times=Times(200, 360, 160 / 11),
        aiperf=(GOOD, GOOD),
        vllm=OK,
        why="none: n comes from usage, and the first record's tokens are taken for one",
    ),
    Scenario(
        12,
        "HTTP 503",
        Script((Write(50, b'{"error": {"message": "busy"}}'),), 503, "application/json"),
        verdict="error http_5xx",
        times=Times(),
        aiperf=(ERROR, ERROR),
        vllm=FAILED,
        why="none",
    ),
    Scenario(
        13,
        "JSON at 300 ms, although a stream was asked for",
        Script((Write(300, _JSON),), content_type="application/json"),
        verdict="good_partial",
        times=Times(None, 300),
        aiperf=(GOOD, GOOD),
        vllm=FAILED,
        aiperf_ttft_ms=300,
        why="what is not streamed has no first token to wait for. AIPerf takes E2E for TTFT and 0"
        " for ITL, vLLM's client finds no record",
    ),
    Scenario(
        14,
        "an empty content without a role at 100 ms, text from 200 ms on",
        Script((Write(50, ROLE), Write(100, delta(content="")), *_STREAM_OF_TEN)),
        verdict="good",
        times=Times(200, 380, 20),
        aiperf=(GOOD, GOOD),
        vllm=OK,
        vllm_ttft_ms=100,
        why="nothing that could be shown has come yet; vLLM's client takes it for a special token",
    ),
    Scenario(
        15,
        "three tokens, and the body ends: no finish reason, usage or `[DONE]`",
        Script((Write(50, ROLE), *_THREE)),
        verdict="error truncated",
        times=Times(200, 240, 20),
        aiperf=(GOOD, NOT_GOOD),
        vllm=OK,
        why="nothing says that the answer was complete, and a server that dies looks like this; the"
        " others do not ask",
    ),
    Scenario(
        16,
        "nothing but `data: {error}` and `[DONE]`",
        Script((Write(100, error()), Write(100, DONE))),
        verdict="error stream_error",
        times=Times(),
        aiperf=(ERROR, ERROR),
        vllm=FAILED,
        why="none",
    ),
)
assert [scenario.number for scenario in SCENARIOS] == list(range(1, len(SCENARIOS) + 1))
