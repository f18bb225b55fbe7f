"""Requests and responses that follow the grammar of HTTP/1.1, and what becomes of them by chance.

A `Message` is put together by rules of its own, so that it can say what the other side of a
transparent proxy has to see of it. `spoiled` are messages that some accident has happened to.
"""

from __future__ import annotations

import string
from dataclasses import dataclass

from hypothesis import strategies as st

from tests.integration.harness import chunk

Headers = list[tuple[bytes, bytes]]

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY", "PROPFIND")
STATUSES = (200, 201, 206, 301, 404, 418, 429, 500, 503, 599)
BODILESS = (204, 304)
_TOKEN = string.ascii_letters + string.digits + "!#$%&'*+-.^_`|~"
# Visible ASCII; a `#` would begin a fragment, which is legal to pass on, and no part of a target.
_TARGET = "".join(chr(i) for i in range(0x21, 0x7F) if chr(i) != "#")
_VISIBLE = [bytes([i]) for i in (*range(0x21, 0x7F), *range(0x80, 0x100))]

# No name is that of the header that a `Connection` below takes away.
_names = st.text(_TOKEN, max_size=10).filter(lambda text: text.lower() != "hop")
names = _names.map(lambda text: b"X-" + text.encode()) | st.sampled_from(
    [b"Accept", b"Cookie", b"Set-Cookie", b"authorization", b"VIA", b"X-Forwarded-For", b"Range"]
)
values = st.lists(st.sampled_from([*_VISIBLE, b"a b", b"a\tb"]), max_size=12).map(b"".join)
header_lists = st.lists(st.tuples(names, values), max_size=6)
targets = st.text(_TARGET, max_size=20).map(lambda text: b"/" + text.encode())
reasons = st.lists(st.sampled_from([*_VISIBLE, b" "]), max_size=8).map(b"".join)
bodies = st.binary(max_size=60) | st.sampled_from([b"\r\n\r\n", b"0\r\n\r\n", b"\r\nX: 1\r\n\r\n"])
extensions = st.sampled_from([b"", b"", b";a", b";a=b", b';a="b c"'])
padding = st.sampled_from([b"", b"", b"0", b"000"])


@dataclass(frozen=True)
class Framing:
    """How a body is delimited, and its bytes on the wire."""

    header: tuple[bytes, bytes] | None
    wire: bytes = b""
    body: bytes = b""
    trailers: tuple[tuple[bytes, bytes], ...] = ()

    @property
    def chunked(self) -> bool:
        """Whether it is in chunks."""
        return self.header is not None and self.header[0].lower() == b"transfer-encoding"


@dataclass(frozen=True)
class Message:
    """A message, and what the other side of the proxy has to see of it."""

    start: bytes
    headers: Headers  # as they are sent, framing and hops among them
    passed: Headers  # as they are received, but for the framing
    framing: Framing
    place: int  # that of the header of the framing among them

    @property
    def wire(self) -> bytes:
        """The bytes that are sent."""
        lines = [self.start, *(b"%b: %b" % header for header in self.headers), b"\r\n"]
        return b"\r\n".join(lines) + self.framing.wire


@st.composite
def framings(draw: st.DrawFn) -> Framing:
    """Draw a body of some size, in some framing."""
    kind = draw(st.sampled_from(["none", "sized", "chunked"]))
    if kind == "none":
        return Framing(None)
    if kind == "sized":
        body = draw(bodies)
        return Framing((b"Content-Length", b"%d" % len(body)), body, body)
    pieces = draw(st.lists(bodies.filter(bool), max_size=4))
    chunks = [
        draw(padding) + chunk(piece).replace(b"\r\n", draw(extensions) + b"\r\n", 1)
        for piece in pieces
    ]
    trailers = draw(st.lists(st.tuples(names, values), max_size=2))
    lines = [b"0" + draw(extensions), *(b"%b: %b" % trailer for trailer in trailers), b"\r\n"]
    coding = draw(st.sampled_from([b"Transfer-Encoding", b"transfer-ENCODING"]))
    wire = b"".join(chunks) + b"\r\n".join(lines)
    return Framing((coding, b"chunked"), wire, b"".join(pieces), tuple(trailers))


def _assemble(draw: st.DrawFn, start: bytes, passed: Headers, framing: Framing) -> Message:
    """Put what stops at the proxy between what passes."""
    sent = list(passed)
    place = draw(st.integers(0, len(sent)))
    if framing.header is not None:
        sent.insert(place, framing.header)
    nominated = draw(st.lists(st.tuples(st.just(b"X-Hop"), values), max_size=2))
    hops = [*nominated, *([(b"Connection", b"x-hop, keep-alive")] if nominated else [])]
    hops += draw(st.lists(st.sampled_from([(b"Keep-Alive", b"x"), (b"TE", b"y")]), max_size=1))
    for hop in hops:
        sent.insert(draw(st.integers(0, len(sent))), hop)
    return Message(start, sent, passed, framing, place)


@st.composite
def requests(draw: st.DrawFn) -> Message:
    """Draw a request that is valid in every respect."""
    start = b"%b %b HTTP/1.1" % (draw(st.sampled_from(METHODS)).encode(), draw(targets))
    passed = draw(header_lists)
    passed.insert(draw(st.integers(0, len(passed))), (b"Host", draw(st.sampled_from([b"x", b""]))))
    return _assemble(draw, start, passed, draw(framings()))


@st.composite
def responses(draw: st.DrawFn) -> Message:
    """Draw a response to a GET that is valid in every respect."""
    status = draw(st.sampled_from([*STATUSES, *BODILESS]))
    framing = Framing(None) if status in BODILESS else draw(framings())
    if framing.header is None and status not in BODILESS:  # its end is the connection's
        body = draw(bodies)
        framing = Framing(None, body, body)
    start = b"HTTP/1.1 %d %b" % (status, draw(reasons))
    return _assemble(draw, start, draw(header_lists), framing)


ACCIDENTS = (
    *(b"\r\n", b"\n", b"\r", b"\r\n\r\n", b":", b" ", b"\t", b"\0", b"\x7f", b"\xff", b",", b";"),
    *(b"Content-Length: 3\r\n", b"Content-Length: 0\r\n", b"Transfer-Encoding: chunked\r\n"),
    *(
        b"Connection: upgrade\r\nUpgrade: x\r\n",
        b"Upgrade: websocket\r\n",
        b"Connection: close\r\n",
    ),
    *(b"Expect: 100-continue\r\n", b"Host: y\r\n", b"X-A: 1\r\n y\r\n", b"HTTP/1.0", b"HTTP/2.0"),
    *(b"0\r\n\r\n", b"0\r\nX-A: 1\r\n\r\n", b"5\r\n", b"ffffffffffffffff", b"99999999999999999999"),
    *(b"GET /y HTTP/1.1\r\nHost: y\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 100 C\r\n\r\n"),
    *(b"HTTP/1.1 103 E\r\nX-A: 1\r\n\r\n", b"HTTP/1.1 101 S\r\nUpgrade: x\r\n\r\n", b"204", b"304"),
)


@st.composite
def spoiled(draw: st.DrawFn, messages: st.SearchStrategy[Message]) -> bytes:
    """Draw messages in which bytes were lost, doubled or slipped in."""
    data = b"".join(message.wire for message in draw(st.lists(messages, min_size=1, max_size=2)))
    for _ in range(draw(st.integers(1, 4))):
        begin = draw(st.integers(0, len(data)))
        end = begin + draw(st.integers(0, 8))
        slipped = draw(
            st.sampled_from(ACCIDENTS) | st.binary(max_size=3) | st.just(data[begin:end])
        )
        data = data[:begin] + slipped + data[begin if draw(st.booleans()) else end :]
    return data
