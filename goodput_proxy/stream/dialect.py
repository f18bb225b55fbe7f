"""What all dialects share: the contract, and the records that say the same in each of them.

A dialect turns one record of a server's stream into a few events. It knows the habits of the
servers that speak it; it must not know time, sockets or limits. Decoding is typed and partial
(msgspec): keys that are not asked for are skipped in C, so prompts, log probabilities and
repeated answers never become Python objects.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Protocol

from goodput_proxy.faults import MeterFault

from .answer import read_answer
from .decoding import UNREADABLE, is_error, repair, unreadable
from .events import ErrorEvent, Event, TerminatorEvent, UnclassifiedEvent
from .framing import Record

DONE = b"[DONE]"


class Dialect(Protocol):
    """Turn records of one response into events; never raises, knows no time."""

    def read(self, record: Record) -> list[Event]:
        """Return what one record of a stream says."""

    def read_unary(self, body: bytes) -> list[Event]:
        """Return what an answer that is not streamed says."""


class JsonDialect(ABC):
    """A dialect whose records are JSON objects, perhaps with `[DONE]` behind them."""

    __slots__ = ()

    def read(self, record: Record) -> list[Event]:
        """Return what one record of a stream says; never raises."""
        data = record.data
        if data is None:
            return self._read_without_data(record)
        if not data:
            return []  # a keep-alive
        if data.startswith(DONE):
            return [TerminatorEvent()]
        try:
            return self._read(data, record.event)
        except UNREADABLE as exc:
            repaired = repair(data)
            if repaired is not None:
                return self.read(Record(repaired, record.event))
            return [unreadable(data, record.event, exc)]

    def read_unary(self, body: bytes) -> list[Event]:
        """Return what an answer that is not streamed says; never raises."""
        return read_answer(body)

    @abstractmethod
    def _read(self, data: bytes, event: bytes) -> list[Event]:
        """Return what a record says.

        Raises:
            UNREADABLE: when it is not JSON, or not of the shape that this dialect expects.
        """

    def _read_oversize(self, record: Record) -> list[Event]:
        """Return what the two ends of a record say that was too large to be kept."""
        del record
        return []

    def _read_without_data(self, record: Record) -> list[Event]:
        if record.oversize:
            unread = UnclassifiedEvent(MeterFault.OVERSIZE_RECORD)
            if is_error(record.head, record.event):
                return [unread, ErrorEvent()]
            return [unread, *self._read_oversize(record)]
        return [TerminatorEvent()] if record.end else [ErrorEvent("event_error_without_data")]
