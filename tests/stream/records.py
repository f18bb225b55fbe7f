"""What tests of dialects share: records from payloads, also from payloads above the cap."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from goodput_proxy.stream.framing import Record
from goodput_proxy.stream.lines import LineFramer
from goodput_proxy.stream.sse import SseFramer

if TYPE_CHECKING:
    from goodput_proxy.stream.dialect import Dialect
    from goodput_proxy.stream.events import Event

LONG = "x" * 5000  # longer than both ends of an oversize record
CAP = 4096


def to_record(payload: Any) -> Record:
    """Return a record of a payload: as it is, of bytes, or of what becomes JSON."""
    if isinstance(payload, Record):
        return payload
    return Record(payload if isinstance(payload, bytes) else json.dumps(payload).encode())


def read(dialect: Dialect, *payloads: Any) -> list[Event]:
    """Return all that a dialect says of some payloads."""
    return [event for payload in payloads for event in dialect.read(to_record(payload))]


def oversize(payload: Any, event: str = "") -> Record:
    """Return what framing leaves of a payload that is too large."""
    data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    name = b"event: %b\n" % event.encode() if event else b""
    (record,) = SseFramer(CAP).feed(name + b"data: " + data + b"\n\n")
    assert record.oversize, "the payload is not larger than the cap"
    return record


def oversize_line(payload: Any) -> Record:
    """Return what framing leaves of a line that is too large, as compact as Go writes it."""
    data = json.dumps(payload, separators=(",", ":")).encode()
    (record,) = LineFramer(CAP).feed(data + b"\n")
    assert record.oversize, "the payload is not larger than the cap"
    return record
