"""The tables that pick a framer and a dialect for a response."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from goodput_proxy.stream import find_endpoint, make_dialect, make_framer
from goodput_proxy.stream.array import ArrayFramer
from goodput_proxy.stream.lines import LineFramer
from goodput_proxy.stream.sse import SseFramer
from tests.stream.records import read

if TYPE_CHECKING:
    from goodput_proxy.stream.framing import Framer

CHAT, GENERATE = "/v1/chat/completions", "/generate"
GEMINI = "/v1beta/models/m:streamGenerateContent"
PROMPT = {"choices": [{"index": 0, "text": "prompt"}]}


@pytest.mark.parametrize(
    ("path", "media_type", "framer"),
    [
        (CHAT, "text/event-stream", SseFramer),
        (CHAT, "application/x-ndjson", LineFramer),
        (CHAT, "application/jsonl", LineFramer),
        (CHAT, "application/json", None),
        (CHAT, "text/html", None),
        (CHAT, "", None),
        (GENERATE, "text/event-stream", SseFramer),
        (GENERATE, "application/json", None),
        (GENERATE, "", LineFramer),  # old vLLM
        (GEMINI, "text/event-stream", SseFramer),
        (GEMINI, "application/json", ArrayFramer),
        ("/v1beta/models/m:generateContent", "application/json", None),
    ],
)
def test_the_response_decides_the_framing(
    path: str, media_type: str, framer: type[Framer] | None
) -> None:
    """By its media type; only where that says nothing, by the path."""
    endpoint = find_endpoint(path)
    assert endpoint is not None
    made = make_framer(endpoint, media_type, 1000)

    assert (None if made is None else type(made)) is framer


@pytest.mark.parametrize(
    ("path", "generates", "echo", "tokens"),
    [
        (CHAT, True, False, 2),
        (CHAT, True, True, 1),  # a record of its own
        (CHAT, False, True, 0),
        ("/v1/completions", True, True, 2),  # echo and first token share a record
        ("/v1/completions", False, True, 0),
        ("/completions", False, True, 0),
        ("/api/chat", False, True, 0),
    ],
)
def test_an_echoed_prompt_is_no_token(
    path: str,
    generates: bool,  # noqa: FBT001
    echo: bool,  # noqa: FBT001
    tokens: int,
) -> None:
    """What the request asked for tells an echo from output."""
    endpoint = find_endpoint(path)
    assert endpoint is not None
    dialect = make_dialect(endpoint, generates=generates, echo=echo)

    assert len(read(dialect, PROMPT, PROMPT)) == tokens
