"""Answers as a script: what is written, when, and how the connection ends.

Pure. The records are those of OpenAI's chat stream in the shapes that servers send; times count
from the moment at which the server has the request, and are absolute, so that a late write does
not delay those behind it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

DONE = b"data: [DONE]\n\n"
PING = b": ping\n\n"
EVENT_STREAM = "text/event-stream"


class End(Enum):
    """How an answer ends."""

    PROPER = auto()
    ABORT = auto()  # the socket is reset in the middle of the body


@dataclass(frozen=True, slots=True)
class Write:
    """Bytes in one write, and when."""

    at_ms: float
    data: bytes


@dataclass(frozen=True, slots=True)
class Script:
    """One answer."""

    writes: tuple[Write, ...]
    status: int = 200
    content_type: str = EVENT_STREAM
    end: End = End.PROPER


def record(*choices: dict[str, Any], **extra: Any) -> bytes:
    """Return one record of a chat stream."""
    body = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    return b"data: " + json.dumps({**body, "choices": choices, **extra}).encode() + b"\n\n"


def delta(finish_reason: str | None = None, **fields: Any) -> bytes:
    """Return a record of the one choice."""
    return record({"index": 0, "delta": fields, "finish_reason": finish_reason})


ROLE = delta(role="assistant", content="")
FINISH = delta("stop")


def text(index: int, tokens: int = 1) -> bytes:
    """Return a record with so many words of the answer; a word counts as a token."""
    return delta(content="".join(f" w{index * tokens + i}" for i in range(tokens)))


def usage(tokens: int) -> bytes:
    """Return the record that tells how many tokens there were."""
    return record(
        usage={"prompt_tokens": 2, "completion_tokens": tokens, "total_tokens": tokens + 2}
    )


def error(kind: str = "") -> bytes:
    """Return an error record, bare or as an event of its own kind."""
    body = json.dumps({"error": {"message": "out of memory", "type": "server_error", "code": 500}})
    return (f"event: {kind}\n" if kind else "").encode() + f"data: {body}\n\n".encode()


def every(gap_ms: float, *records: bytes, start_ms: float) -> Iterator[Write]:
    """Yield records at an even pace."""
    for index, data in enumerate(records):
        yield Write(start_ms + index * gap_ms, data)


def closing(at_ms: float, tokens: int) -> tuple[Write, ...]:
    """Return the end of a stream: finish reason, usage a tenth of a second later, terminator."""
    return (Write(at_ms, FINISH), Write(at_ms + 100, usage(tokens)), Write(at_ms + 100, DONE))
