"""Frames of WebSockets, made by hand."""

from __future__ import annotations

import zlib

TEXT, BINARY, CONTINUATION, CLOSE, PING = 1, 2, 0, 8, 9


def frame(
    payload: bytes,
    opcode: int = TEXT,
    *,
    final: bool = True,
    mask: bytes = b"",
    compressed: bool = False,
) -> bytes:
    """Return one frame; with a mask it is a client's."""
    first = (0x80 if final else 0) | (0x40 if compressed else 0) | opcode
    bit = 0x80 if mask else 0
    size = len(payload)
    if size < 126:
        head = bytes((first, bit | size))
    elif size < 2**16:
        head = bytes((first, bit | 126)) + size.to_bytes(2)
    else:
        head = bytes((first, bit | 127)) + size.to_bytes(8)
    if mask:
        payload = bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))
    return head + mask + payload


class Deflater:
    """Compress messages one after the other, as permessage-deflate does."""

    def __init__(self, *, takeover: bool = True) -> None:
        self._takeover = takeover
        self._zlib = zlib.compressobj(wbits=-15)

    def compress(self, text: bytes) -> bytes:
        """Return the payload of one message."""
        if not self._takeover:
            self._zlib = zlib.compressobj(wbits=-15)
        data = self._zlib.compress(text) + self._zlib.flush(zlib.Z_SYNC_FLUSH)
        return data.removesuffix(b"\x00\x00\xff\xff")
