"""Dialect of streams whose records are the text itself, as transformers sends transcriptions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .decoding import is_error
from .dialect import JsonDialect
from .events import EndsAtCloseEvent, ErrorEvent, Event, TokenEvent

if TYPE_CHECKING:
    from .framing import Record


class PlainDialect(JsonDialect):
    """Read one response of plain text; its errors are JSON, or nearly so."""

    __slots__ = ()

    def _read(self, data: bytes, event: bytes) -> list[Event]:
        if is_error(data, event):
            return [ErrorEvent()]
        return [EndsAtCloseEvent(), TokenEvent()] if data.strip() else [EndsAtCloseEvent()]

    def _read_oversize(self, record: Record) -> list[Event]:
        return self._read(record.head, record.event)
