"""The corpus as responses on the wire, and ways to cut them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from goodput_proxy.classify import Route, classify

if TYPE_CHECKING:
    from collections.abc import Iterable

_CORPUS = Path(__file__).parent / "corpus"

# Every body of the corpus that is an HTTP response; WebSocket frames are not.
CASES = tuple(
    sorted(
        path.name
        for path in _CORPUS.iterdir()
        if path.suffix in {".sse", ".ndjson", ".jsonarray"} and ".ws_" not in path.name
    )
)
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
    def route(self) -> Route:
        """Where a request to the path goes."""
        route = classify("POST", self.path)
        assert isinstance(route, Route)
        return route

    @property
    def request(self) -> bytes:
        """A request's body that is answered so."""
        return json.dumps(
            {k: v for k, v in self.expected["request"].items() if not k.startswith("_")}
        ).encode()

    @property
    def media_type(self) -> str:
        """The media type of the answer, without its parameters."""
        content_type: str = self.expected["content_type"]
        return content_type.partition(";")[0]


@cache
def load_case(name: str) -> Case:
    """Return a stream of the corpus by its file name."""
    path = _CORPUS / name
    return Case(path.read_bytes(), json.loads(path.with_suffix(".json").read_text()))


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
