"""What a message of a realtime session is called, and the model that it names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from .decoding import UNREADABLE
from .output import find_strings

if TYPE_CHECKING:
    from .framing import Record


class _Session(msgspec.Struct, gc=False):
    model: Any = None


class _Message(msgspec.Struct, gc=False):
    type: Any = None
    model: Any = None  # vLLM's `session.update`
    session: _Session | None = None


_decode = msgspec.json.Decoder(_Message).decode


def read_name(record: Record) -> tuple[str, Any]:
    """Return the type of a message, empty without one, and what it says of a session's model."""
    if record.data is None:
        return next(iter(find_strings(record.head, b"type")), ""), None
    try:
        message = _decode(record.data)
    except UNREADABLE:
        return "", None
    name = message.type if isinstance(message.type, str) else ""
    if not name.startswith("session."):
        return name, None
    return name, message.session.model if message.session is not None else message.model
