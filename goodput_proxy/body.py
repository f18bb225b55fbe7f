"""Bounded copies of bodies that stream past; pure."""

from __future__ import annotations

from .outline import Outline

# Up to here a request's body is decoded whole, in well below 1 ms; a larger one by its outline.
_WHOLE_BYTES = 64 * 1024
# Fields of a form stand before its file, with the clients of the field.
_FORM_BYTES = 8 * 1024


class BodyCopy:
    """Keep a copy of a body while it streams past, up to a bound; then keep nothing."""

    __slots__ = ("_chunks", "_max_bytes", "_size")

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._chunks: list[bytes] = []
        self._size = 0

    def add(self, chunk: bytes) -> None:
        """Take the next piece of the body."""
        self._size += len(chunk)
        if self._size <= self._max_bytes:
            self._chunks.append(chunk)
        else:
            self._chunks.clear()

    @property
    def overflowed(self) -> bool:
        """Whether the body outgrew the bound."""
        return self._size > self._max_bytes

    def take(self) -> bytes:
        """Return the copy, empty when the body outgrew the bound, and let go of it."""
        body = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks.clear()
        return body


class RequestBody:
    """Keep of a request's body what says what it asks for.

    Args:
        max_bytes: of a longer body nothing is known.
    """

    __slots__ = ("_beginning", "_copy", "_max_bytes", "_outline", "size")

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._copy = BodyCopy(_WHOLE_BYTES)
        self._outline: Outline | None = None  # of a body that is not kept whole
        self._beginning = b""  # of one that is not JSON either
        self.size = 0  # bytes that the body has had so far, kept or not

    def add(self, chunk: bytes) -> None:
        """Take the next piece of the body."""
        self.size += len(chunk)
        if self.size > self._max_bytes:
            self._copy.take()
            self._outline = None
            self._beginning = b""
        elif self._outline is not None:
            self._outline.add(chunk)
        elif self.size <= _WHOLE_BYTES:
            self._copy.add(chunk)
        elif not self._beginning:
            self._outgrow(self._copy.take() + chunk)

    def take(self) -> bytes:
        """Return the body, its outline or its beginning; empty when it was too long."""
        if self._outline is not None:
            return self._outline.take()
        return self._beginning or self._copy.take()

    def _outgrow(self, body: bytes) -> None:
        """Go over to what is kept of a long body, of which this has come so far."""
        if body.lstrip()[:1] == b"{":
            self._outline = Outline()
            self._outline.add(body)
        else:
            self._beginning = body[:_FORM_BYTES]
