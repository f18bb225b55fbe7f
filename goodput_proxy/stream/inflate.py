"""Content codings undone on a copy of a body, a bounded piece at a time; pure.

No inference server compresses its streams, but a proxy or a middleware between it and us may.
The client's bytes stay as they are; the meter reads this. What comes out is bounded at each
step, whatever goes in: four bytes of zstd may stand for 128 KiB, so a step gives no more than
`PIECE_BYTES`, and a body that grows beyond any use of compression is given up.

gzip (RFC 1952, also in several members), deflate (RFC 9110, 8.4.1.2: zlib, but some send it
bare), br (RFC 7932) and zstd (RFC 8878, also in several frames).
"""

from __future__ import annotations

import sys
import zlib
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

PIECE_BYTES = 32 * 1024  # the first buffer of brotli, which fills whole buffers
# A cumulative stream repeats all that it said: 10^3 is ordinary there. deflate's own bound is
# 1,032.
_MAX_RATIO = 4096
_FREE_BYTES = 1024 * 1024  # below this no ratio is looked at


class Undecodable(ValueError):  # noqa: N818 -- a finding, not an accident
    """A body is not what its content coding says, or grows without end."""


class Decompressor(Protocol):
    """One content coding."""

    def step(self, data: bytes) -> bytes:
        """Take more input, or none, and return at most `PIECE_BYTES` of output."""

    @property
    def pending(self) -> bool:
        """Whether there may be more output without more input."""


class Inflater:
    """Undo a content coding, in bounded steps.

    Args:
        decompressor: of the coding.
    """

    __slots__ = ("_decompressor", "_in_bytes", "_out_bytes")

    def __init__(self, decompressor: Decompressor) -> None:
        self._decompressor = decompressor
        self._in_bytes = 0
        self._out_bytes = 0

    @property
    def pending(self) -> bool:
        """Whether there may be more output without more input."""
        return self._decompressor.pending

    def step(self, data: bytes = b"") -> bytes:
        """Return the next piece of the body; give `data` only when nothing is pending.

        Raises:
            Undecodable: see there.
        """
        self._in_bytes += len(data)
        piece = self._decompressor.step(data)
        self._out_bytes += len(piece)
        if self._out_bytes > _FREE_BYTES + self._in_bytes * _MAX_RATIO:
            raise Undecodable("the body grows without end")
        return piece


class _Zlib:
    """gzip and deflate."""

    __slots__ = ("_begun", "_full", "_rest", "_wbits", "_zlib")

    def __init__(self, wbits: int) -> None:
        self._wbits = wbits
        self._zlib = zlib.decompressobj(wbits)
        self._begun = False
        self._rest = b""  # input that has not been used
        self._full = False  # the last piece was as large as it may be: more may wait inside

    @property
    def pending(self) -> bool:
        """Whether there may be more output without more input."""
        return self._full or bool(self._rest)

    def step(self, data: bytes) -> bytes:
        """Take more input, or none, and return a bounded piece of output."""
        data = self._rest + data
        if data and not self._begun:
            self._begin(data[0])
        try:
            piece = self._zlib.decompress(data, PIECE_BYTES)
        except zlib.error as exc:
            raise Undecodable("not deflate") from exc
        self._full = len(piece) == PIECE_BYTES
        self._rest = self._zlib.unconsumed_tail
        if self._zlib.eof:  # another member may follow
            self._rest = self._zlib.unused_data
            self._zlib = zlib.decompressobj(self._wbits)
        return piece

    def _begin(self, first: int) -> None:
        self._begun = True
        # A zlib header says method 8 in its low half; bare deflate cannot begin so with a final
        # or a compressed block of any use.
        if self._wbits == zlib.MAX_WBITS and first & 0x0F != 8:
            self._wbits = -zlib.MAX_WBITS
            self._zlib = zlib.decompressobj(self._wbits)


class _Brotli:
    __slots__ = ("_brotli", "_error", "pending")

    def __init__(self) -> None:
        # Loaded when first met, which is hardly ever: an idle sidecar has no memory to spare.
        import brotli  # noqa: PLC0415

        self._brotli = brotli.Decompressor()
        self._error = brotli.error
        self.pending = False

    def step(self, data: bytes) -> bytes:
        """Take more input, or none, and return a bounded piece of output."""
        try:
            piece: bytes = self._brotli.process(data, output_buffer_limit=PIECE_BYTES // 2)
        except self._error as exc:
            raise Undecodable("not brotli") from exc
        # "Can accept more" speaks of input alone: output may wait inside all the same.
        self.pending = bool(piece) or not self._brotli.can_accept_more_data()
        return piece


class _Zstd:
    __slots__ = ("_error", "_make", "_rest", "_zstd")

    def __init__(self) -> None:
        if sys.version_info >= (3, 14):  # pragma: no cover -- the tests may run on an older one
            from compression import zstd  # noqa: PLC0415
        else:
            from backports import zstd  # noqa: PLC0415 -- loaded when first met, as above

        self._make = zstd.ZstdDecompressor
        self._error = zstd.ZstdError
        self._zstd = self._make()
        self._rest = b""

    @property
    def pending(self) -> bool:
        """Whether there may be more output without more input."""
        return bool(self._rest) or not self._zstd.needs_input

    def step(self, data: bytes) -> bytes:
        """Take more input, or none, and return a bounded piece of output."""
        data, self._rest = self._rest + data, b""
        try:
            piece: bytes = self._zstd.decompress(data, PIECE_BYTES)
        except self._error as exc:
            raise Undecodable("not zstd") from exc
        if self._zstd.eof:  # another frame may follow
            self._rest = self._zstd.unused_data
            self._zstd = self._make()
        return piece


# By the name in `Content-Encoding`.
CODINGS: dict[str, Callable[[], Decompressor]] = {
    "gzip": lambda: _Zlib(16 + zlib.MAX_WBITS),
    "x-gzip": lambda: _Zlib(16 + zlib.MAX_WBITS),
    "deflate": lambda: _Zlib(zlib.MAX_WBITS),
    "br": _Brotli,
    "zstd": _Zstd,
}


def make_inflater(coding: str) -> Inflater | None:
    """Return what undoes a content coding, None when the coding is not known."""
    make = CODINGS.get(coding)
    return Inflater(make()) if make else None
