"""Requests that ask for another protocol, found in what a client sends; pure.

aiohttp 3.14 stops parsing behind a request with `Upgrade: websocket` and holds what follows back
until the request is answered. Behind a request for any other protocol it forgets the rest of the
read at hand, and takes what comes later for requests. So that nothing is lost or mistaken, reads
are cut behind the heads of such requests before aiohttp sees them.
"""

from __future__ import annotations

_HEAD_END = b"\r\n\r\n"
_WISH = b"\nupgrade:"
_BODY = (b"\ncontent-length", b"\ntransfer-encoding")
# HTTP/2 in the middle of a connection: deprecated (RFC 9113, 3.1), and a way past every check.
_NEVER = frozenset((b"", b"h2c", b"h2"))
# Of a head that arrives in pieces so much is kept; a wish further from the end is not granted.
_KEPT_BYTES = 16 * 1024


def offered(value: bytes) -> bytes:
    """Return what an `Upgrade` header lists, without what must not be passed on."""
    if not _split(value) & _NEVER:
        return value
    return b", ".join(
        t for token in value.split(b",") if (t := token.strip()).lower() not in _NEVER
    )


def was_asked_for(answer: bytes, value: bytes) -> bool:
    """Return whether the protocol of a 101 is one that an `Upgrade` header lists."""
    return answer.strip().lower() in _split(value) - _NEVER


def _split(value: bytes) -> frozenset[bytes]:
    return frozenset(token.strip() for token in value.lower().split(b","))


class UpgradeFinder:
    """Find the heads of requests for another protocol in the reads of one connection."""

    __slots__ = ("_begun",)

    def __init__(self) -> None:
        self._begun = b""  # a head that a read has cut

    def find(self, data: bytes) -> int:
        """Return where in a read the first such head ends, 0 when there is none.

        The read must begin where a head begins, or go on where the last one has cut a head.
        """
        before = len(self._begun)
        if before:
            data = self._begun + data
            self._begun = b""
        begin = 0
        while (end := data.find(_HEAD_END, begin)) >= 0:
            head = data[begin:end].lower()
            begin = end + len(_HEAD_END)
            if _WISH in head:
                return begin - before
            if begin == len(data) or any(name in head for name in _BODY):
                return 0
        self._begun = data[begin:][-_KEPT_BYTES:]
        return 0
