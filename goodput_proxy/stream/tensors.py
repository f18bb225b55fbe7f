"""Dialect of Triton's `generate_stream`: a record holds whatever tensors the model puts out.

By convention the text is `text_output`, but a model may call it anything, so every string is
output except those by which Triton names the model. The format has no finish reason, no usage
and no end mark.
"""

from __future__ import annotations

from typing import Any

import msgspec

from .decoding import failure
from .dialect import JsonDialect
from .events import EndsAtCloseEvent, Event, TokenEvent
from .framing import Record
from .output import has_text, shows_text

_NAMES = frozenset(("model_name", "model_version", "sequence_id", "id", "finish_reason"))
_IDS = frozenset(("output_ids", "token_ids"))  # of a model that leaves detokenizing to others

_decode = msgspec.json.Decoder(dict[str, Any]).decode


class TensorsDialect(JsonDialect):
    """Read one response of `generate_stream`."""

    __slots__ = ()

    def _read(self, data: bytes, event: bytes) -> list[Event]:
        tensors = _decode(data)
        error = tensors.get("error")
        if error or event == b"error":
            return [failure(error)]
        shown = any(
            has_text(value) or (name in _IDS and value)
            for name, value in tensors.items()
            if name not in _NAMES
        )
        return [EndsAtCloseEvent(), TokenEvent()] if shown else [EndsAtCloseEvent()]

    def read_unary(self, body: bytes) -> list[Event]:
        """Return what an answer that is not streamed says: it is a record of its own."""
        return self.read(Record(body))

    def _read_oversize(self, record: Record) -> list[Event]:
        shown = shows_text(record.head)
        return [EndsAtCloseEvent(), TokenEvent()] if shown else [EndsAtCloseEvent()]
