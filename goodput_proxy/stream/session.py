"""What a message of a realtime session is called, and what else it says of the session."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from .decoding import UNREADABLE
from .output import find_strings

if TYPE_CHECKING:
    from .framing import Record


class _Session(msgspec.Struct, gc=False):
    model: Any = None


class _Payload(msgspec.Struct, gc=False):
    type: Any = None
    model: Any = None  # vLLM's `session.update`
    session: _Session | None = None
    final: Any = None


class Message(msgspec.Struct, frozen=True, gc=False):
    """What a message says beside its content."""

    name: str = ""  # its type
    model: Any = None  # that it names, if it is about the session
    final: bool = False  # vLLM: no audio follows


_decode = msgspec.json.Decoder(_Payload).decode


def read_message(record: Record, known: frozenset[str]) -> Message:
    """Return what a message is; of an oversize one no more than the name, if that is `known`."""
    if record.data is None:
        # Other things have types as well, and a writer that sorts its keys puts this one last.
        names = (*find_strings(record.head, b"type"), *find_strings(record.tail, b"type")[::-1])
        return Message(next((name for name in names if name in known), ""))
    try:
        payload = _decode(record.data)
    except UNREADABLE:
        return Message()
    name = payload.type if isinstance(payload.type, str) else ""
    model = payload.session.model if payload.session is not None else payload.model
    return Message(name, model if name.startswith("session.") else None, payload.final is True)
