"""The corpus as responses on the wire, and ways to cut them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from goodput_proxy.stream import find_api

if TYPE_CHECKING:
    from collections.abc import Iterable

_CORPUS = Path(__file__).parent / "corpus"

CASES = tuple(sorted(path.stem for path in _CORPUS.glob("*.sse")))
FRAMINGS = ("chunked", "sized", "close")  # how the end of a response is marked


@dataclass(frozen=True)
class Case:
    """A stream body with the answers that a correct reader finds."""

    body: bytes
    expected: dict[str, Any]

    @property
    def path(self) -> str:
        """The path that is answered so."""
        path: str = self.expected["path"]
        return path

    @property
    def judged(self) -> bool:
        """Whether the path is one that is judged."""
        return find_api(self.path) is not None


@cache
def load_case(name: str) -> Case:
    """Return a stream of the corpus by its name."""
    body = (_CORPUS / f"{name}.sse").read_bytes()
    return Case(body, json.loads((_CORPUS / f"{name}.json").read_text()))


def wire(case: Case, framing: str, *, by_record: bool = False) -> bytes:
    """Return a response with this body; a chunk holds a record, as from servers, or a line."""
    content_type: str = case.expected["content_type"]
    head = b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\n" % content_type.encode()
    if framing == "sized":
        return head + b"Content-Length: %d\r\n\r\n" % len(case.body) + case.body
    if framing == "close":
        return head + b"\r\n" + case.body
    end = b"\n\n" if by_record else b"\n"
    pieces = [piece + end for piece in case.body.split(end)]
    pieces[-1] = pieces[-1].removesuffix(end)
    chunks = [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces if piece]
    return head + b"Transfer-Encoding: chunked\r\n\r\n" + b"".join(chunks) + b"0\r\n\r\n"


def cut(data: bytes, positions: Iterable[int]) -> list[bytes]:
    """Return data in the pieces that begin at these positions."""
    edges = sorted({0, len(data), *positions})
    return [data[begin:end] for begin, end in pairwise(edges)]
