"""What all framers share: the record, the contract, and the bound on what they keep.

A framer is fed whatever the network delivered and returns the records which that completed,
or an empty list for "need more". It is sans-IO, never raises, never looks into a record, and
never keeps more than `max_record_bytes`: of a longer record only both ends are left, and
framing goes on behind it. Any split of a body's bytes gives the same records.
"""

from __future__ import annotations

from typing import Final, Protocol

import msgspec

# Token deltas are 0.2-20 kB. 24 KiB keeps all that the tap holds for a stream below 64 KiB: a
# buffer that grows has an eighth to spare, and the reads of a batch wait beside it.
MAX_RECORD_BYTES: Final = 24 * 1024

# What is left of an oversize record. Its kind stands at its beginning, and statistics, finish
# reason and usage at its end, with all servers; long in between is the text.
HEAD_BYTES: Final = 1024
TAIL_BYTES: Final = 2048


class Record(msgspec.Struct, frozen=True, gc=False):
    """One framed record: its payload and the name that the framing gave it.

    `data` is None for a block that only named an event, for the framing's own end mark, and for
    an oversize record, of which `head` and `tail` remain.
    """

    data: bytes | None
    event: bytes = b""
    oversize: bool = False
    end: bool = False  # the framing says that no record follows
    head: bytes = b""
    tail: bytes = b""


class Framer(Protocol):
    """Cut a body into records, incrementally."""

    @property
    def idle(self) -> bool:
        """Whether the next byte begins a record, and is not the first of the body."""

    def feed(self, data: bytes) -> list[Record]:
        """Return the records that `data` completed, oldest first."""

    def finish(self) -> list[Record]:
        """Return the record that the clean end of the body completes, if one had begun."""


class PartialRecord:
    """A record that has begun: all of it, or both ends when it is oversize.

    Args:
        max_bytes: a longer record is oversize.
    """

    __slots__ = ("_head", "_kept", "_max_bytes")

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._kept = bytearray()
        self._head = b""  # not empty: the record is oversize

    def __bool__(self) -> bool:
        """Whether anything of the record has come."""
        return bool(self._kept)

    def add(self, data: bytes) -> None:
        """Take the next piece of the record."""
        self._kept += data
        if not self._head and len(self._kept) > self._max_bytes:
            # No more than the cap: that much has come of it, however the reads were cut.
            self._head = bytes(self._kept[: min(HEAD_BYTES, self._max_bytes)])
        if self._head:
            del self._kept[:-TAIL_BYTES]

    def end(self, data: bytes) -> Record:
        """Return the record whose last piece this is, and begin the next one."""
        if self._kept or len(data) > self._max_bytes:
            self.add(data)
            head, data = self._head, bytes(self._kept)
            self._head = b""
            self._kept.clear()
            if head:
                return Record(None, oversize=True, head=head, tail=data)
        return Record(data)
