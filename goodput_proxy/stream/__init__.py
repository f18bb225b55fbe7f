"""Which API a request speaks, and who reads its answer: the tables of `stream/`.

A new API is one dialect file and one row of `_ENDPOINTS`; a new framing is one framer in
`framing.py` and one row of `_FRAMERS`. Paths match by suffix, because gateways, KServe and
`--root-path` put prefixes in front of `/v1`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from .choices import ChoicesDialect
from .framing import SseFramer
from .reader import Dialect, StreamReader

if TYPE_CHECKING:
    from collections.abc import Callable

    from .framing import Framer


class Api(StrEnum):
    """An inference API; the value is the label `api`."""

    CHAT = "chat"
    COMPLETIONS = "completions"


# Longest suffix first: every chat path also ends with `/completions`.
_ENDPOINTS: tuple[tuple[str, Api], ...] = (
    ("/chat/completions", Api.CHAT),
    ("/completions", Api.COMPLETIONS),
)

_FRAMERS: dict[str, Callable[[int], Framer]] = {
    "text/event-stream": SseFramer,
}


def find_api(path: str) -> Api | None:
    """Return the API that answers a POST to `path`, None when it is not inference."""
    for suffix, api in _ENDPOINTS:
        if path.endswith(suffix):
            return api
    return None


def make_reader(media_type: str, dialect: Dialect, max_record_bytes: int) -> StreamReader | None:
    """Return a reader for a response of this media type, None when the type is not a stream."""
    make_framer = _FRAMERS.get(media_type)
    return StreamReader(make_framer(max_record_bytes), dialect) if make_framer else None


def make_dialect(api: Api, *, generates: bool, echo: bool) -> Dialect:
    """Return what understands one response of `api`."""
    # Completions put the echo and the first token into one record: that record is a token.
    return ChoicesDialect(generates=generates, echo_record=echo and api is Api.CHAT)


__all__ = ["Api", "Dialect", "find_api", "make_dialect", "make_reader"]
