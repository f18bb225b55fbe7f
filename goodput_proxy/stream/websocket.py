"""Bytes of one direction of a WebSocket in, text messages out (RFC 6455); sans-IO.

A text message becomes a record, whole or, above the cap, by its two ends. Fragments are joined,
control frames between them skipped, binary messages too: no API of the field sends its events so.
Behind a close frame nothing follows (section 5.5.1); `closed` says that it has come.
Frames of clients are unmasked. Messages that permessage-deflate has compressed (RFC 7692) are
inflated, with the window kept from message to message unless the handshake gave that up.
"""

from __future__ import annotations

import sys
import zlib

from .framing import MAX_RECORD_BYTES, PartialRecord, Record
from .inflate import PIECE_BYTES, Undecodable

_CONTINUATION, _TEXT, _BINARY = 0, 1, 2
_CONTROL = 8  # and above
_CLOSE = 8
_NONE = -1  # no message has begun
_FLUSHED = b"\x00\x00\xff\xff"  # what a sender leaves out at the end of each message
# No message of the field comes near; one that does is given up.
_MAX_INFLATED_BYTES = 16 * 1024 * 1024


class MessageReader:
    """Read the messages of one direction.

    Args:
        max_record_bytes: longer messages are oversize.
        tails: the ends of those are kept as well; without, what is not compressed is skipped.
        deflate: permessage-deflate was agreed on.
        takeover: its window is kept from message to message.
    """

    __slots__ = (
        "closed",
        *("_compressed", "_deflate", "_final", "_head", "_in_payload"),
        *("_left", "_mask", "_message", "_opcode", "_record", "_seen_bytes", "_takeover"),
        *("_wanted_bytes", "_zlib"),
    )

    def __init__(
        self,
        max_record_bytes: int = MAX_RECORD_BYTES,
        *,
        tails: bool = True,
        deflate: bool = False,
        takeover: bool = True,
    ) -> None:
        self._deflate = deflate
        self._takeover = takeover
        self._wanted_bytes = sys.maxsize if tails else max_record_bytes + 1
        self._zlib = zlib.decompressobj(-zlib.MAX_WBITS)
        self.closed = False
        # The frame at hand.
        self._head = b""  # as far as it has come
        self._in_payload = False
        self._left = 0  # bytes of the payload that are still to come
        self._mask = b""
        self._opcode = 0
        self._final = True
        # The message at hand.
        self._message = _NONE
        self._compressed = False
        self._seen_bytes = 0
        self._record = PartialRecord(max_record_bytes)

    def feed(self, data: bytes) -> list[Record]:
        """Return the text messages that `data` completed, oldest first.

        Raises:
            Undecodable: this is no WebSocket, or not the one that was agreed on.
        """
        records: list[Record] = []
        at = 0
        while not self.closed:
            if self._in_payload:
                piece = data[at : at + self._left]
                at += len(piece)
                self._left -= len(piece)
                self._take(piece)
                if self._left:
                    return records
                self._in_payload = False
                records += self._end_frame()
            else:
                missing = _head_bytes(self._head) - len(self._head)
                self._head += data[at : at + missing]
                at += missing
                if at > len(data):
                    return records
                if len(self._head) == _head_bytes(self._head):
                    self._begin_frame(self._head)
        return records

    def _begin_frame(self, head: bytes) -> None:
        self._head = b""
        self._in_payload = True
        masked = head[1] & 0x80
        self._mask = head[-4:] if masked else b""
        length = head[2 : -4 if masked else None]
        self._left = int.from_bytes(length) if length else head[1] & 0x7F
        self._final = bool(head[0] & 0x80)
        self._opcode = head[0] & 0x0F
        compressed = bool(head[0] & 0x40)
        begins = self._opcode in {_TEXT, _BINARY}
        known = begins or self._opcode in {_CONTINUATION, 8, 9, 10}
        in_order = self._opcode >= _CONTROL or begins == (self._message == _NONE)
        if not known or not in_order or head[0] & 0x30 or compressed > (self._deflate and begins):
            raise Undecodable("not a frame of this WebSocket")
        if begins:
            self._message, self._compressed = self._opcode, compressed

    def _take(self, piece: bytes) -> None:
        if self._opcode >= _CONTROL or not piece:
            return
        if self._compressed:  # all of it: later messages may refer to what nobody wants
            self._add_inflated(self._unmask(piece))
        elif self._message == _TEXT and self._seen_bytes < self._wanted_bytes:
            self._add(self._unmask(piece))

    def _add(self, text: bytes) -> None:
        if self._message == _TEXT and self._seen_bytes < self._wanted_bytes:
            self._record.add(text)
        self._seen_bytes += len(text)

    def _end_frame(self) -> list[Record]:
        self.closed = self._opcode == _CLOSE
        if self._opcode >= _CONTROL or not self._final:
            return []
        if self._compressed:
            self._add_inflated(_FLUSHED)
            if not self._takeover:
                self._zlib = zlib.decompressobj(-zlib.MAX_WBITS)
        message, self._message = self._message, _NONE
        self._seen_bytes = 0
        return [self._record.end(b"")] if message == _TEXT else []

    def _unmask(self, piece: bytes) -> bytes:
        if not self._mask:
            return piece
        mask = (self._mask * (len(piece) // 4 + 1))[: len(piece)]
        turn = len(piece) % 4  # the next piece goes on where this one ends
        self._mask = self._mask[turn:] + self._mask[:turn]
        return (int.from_bytes(piece) ^ int.from_bytes(mask)).to_bytes(len(piece))

    def _add_inflated(self, data: bytes) -> None:
        while True:
            try:
                piece = self._zlib.decompress(data, PIECE_BYTES)
            except zlib.error as exc:
                raise Undecodable("not deflate") from exc
            self._add(piece)
            if self._seen_bytes > _MAX_INFLATED_BYTES or self._zlib.eof:
                raise Undecodable("the message grows without end, or ends the connection's window")
            data = self._zlib.unconsumed_tail
            if not data and len(piece) < PIECE_BYTES:
                return


def _head_bytes(head: bytes) -> int:
    """Return how long a frame's head is, as far as what there is of it says."""
    if len(head) < 2:
        return 2
    length = head[1] & 0x7F
    return 2 + {126: 2, 127: 8}.get(length, 0) + (4 if head[1] & 0x80 else 0)


def read_extensions(value: str, *, server: bool) -> dict[str, bool]:
    """Return the arguments of a `MessageReader` that a 101's extensions ask for.

    Args:
        value: of the header `Sec-WebSocket-Extensions`.
        server: whether the reader reads what the server sends.
    """
    side = "server" if server else "client"
    for extension in value.lower().split(","):
        name, *parameters = (part.strip() for part in extension.split(";"))
        if name == "permessage-deflate":
            return {"deflate": True, "takeover": f"{side}_no_context_takeover" not in parameters}
    return {}
