"""Understand what inference servers answer: framing, dialects, and the tables that pick them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .array import ArrayFramer
from .choices import ChoicesDialect
from .detect import DetectingDialect
from .endpoints import Api, Endpoint, Streams, find_endpoint, is_realtime
from .lines import LineFramer
from .sse import SseFramer

if TYPE_CHECKING:
    from collections.abc import Callable

    from .dialect import Dialect
    from .framing import Framer

# By media type. A framing that is not named here is opaque: only its first and last byte count.
FRAMERS: dict[str, Callable[[int], Framer]] = {
    "text/event-stream": SseFramer,
    "application/x-ndjson": LineFramer,
    "application/ndjson": LineFramer,
    "application/jsonl": LineFramer,
    "application/json-lines": LineFramer,
    "application/jsonlines": LineFramer,
}


def make_framer(endpoint: Endpoint, media_type: str, max_record_bytes: int) -> Framer | None:
    """Return a framer for a response of this media type, None when it is not a stream."""
    make = FRAMERS.get(media_type)
    if endpoint.api is Api.GEMINI and endpoint.streams is Streams.ALWAYS:
        make = make or ArrayFramer  # a JSON array under `application/json`
    elif media_type == "" and endpoint.api is Api.GENERATE:
        make = LineFramer  # old vLLM does not say
    return make(max_record_bytes) if make else None


def make_dialect(endpoint: Endpoint, *, generates: bool, echo: bool) -> Dialect:
    """Return what understands one response of an endpoint.

    Args:
        endpoint: the row of the table.
        generates: False when the request asked for no output: text is then an echo.
        echo: True when the request asked for its prompt to be repeated.
    """
    if endpoint.dialect is ChoicesDialect:
        # Completions put the echo and the first token into one record: that record is a token.
        return ChoicesDialect(generates=generates, echo_record=echo and endpoint.api is Api.CHAT)
    if endpoint.dialect is DetectingDialect:
        return DetectingDialect(generates=generates)
    return endpoint.dialect()


__all__ = [
    "Api",
    "Endpoint",
    "Streams",
    "find_endpoint",
    "is_realtime",
    "make_dialect",
    "make_framer",
]
