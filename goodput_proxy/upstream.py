"""A connection to the inference server: an asyncio protocol around httptools' parser.

One exchange at a time runs on it; the response goes to the sink that `begin` was given,
synchronously, from within `data_received`. What a proxy must not lose is kept: header bytes,
case, order and duplicates, 1xx, trailers, chunks that came whole, and the difference between
an answer that ended and one that broke off.
"""

from __future__ import annotations

from time import monotonic_ns
from typing import TYPE_CHECKING, Final, Protocol, cast

import httptools

from .faults import UpstreamFault
from .heads import Headers, find_header
from .record import End
from .upgrades import was_asked_for

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable


# Up to here a chunk may be told by its length alone: what one read of a token stream holds.
_MAX_CHUNK_BYTES: Final = 2048


def _list_size_lines() -> list[bytes | None]:
    lines: list[bytes | None] = [None] * (_MAX_CHUNK_BYTES + 1)
    for size in range(1, _MAX_CHUNK_BYTES):
        line = b"%x\r\n" % size
        if len(line) + size + 2 <= _MAX_CHUNK_BYTES:
            lines[len(line) + size + 2] = line
    return lines


# By the length of a whole chunk on the wire: its size line in the plainest spelling. No two chunks
# have one length, and some lengths no chunk has.
_SIZE_LINES: Final = _list_size_lines()


class Sink(Protocol):
    """What takes a response; see `relay.Relay`."""

    def on_informational(self, status: int, reason: bytes, headers: Headers) -> None:
        """Take a 1xx response."""

    def on_head(self, status: int, reason: bytes, headers: Headers, *, chunked: bool) -> None:
        """Take the head of the final response."""

    def on_body(self, pieces: list[bytes], now_ns: int) -> None:
        """Take the body bytes of one read."""

    def flush(self) -> None:
        """Pass on what a read has brought, if that was not the end."""

    def on_chunk(self, chunk: bytes, data: bytes, now_ns: int) -> None:
        """Take a read that is one whole chunk, framed and bare."""

    def on_switch(
        self, reason: bytes, headers: Headers, transport: asyncio.Transport, early: bytes
    ) -> None:
        """Take a 101 that was asked for, the connection, and what came behind the head."""

    def on_end(self, trailers: Headers) -> None:
        """Take the clean end."""

    def on_failure(self, end: End) -> None:
        """Take an end that is not clean."""


class UpstreamConnection:
    """One connection to the inference server.

    It is an `asyncio.Protocol` in all but name: below a class of Python, compiled attributes would
    be no faster than interpreted ones.

    Args:
        loop: the running event loop.
        count_failure: told a reason each time that the upstream breaks an exchange.
        max_head_bytes: larger response heads break the exchange.
        idle_s: seconds without progress after which an exchange is broken off.
    """

    __slots__ = (
        *("_between_chunks", "_body", "_chunk_done", "_complete", "_count_failure", "_early"),
        *("_framed", "_head_bytes", "_head_done", "_headers", "_held_bytes", "_idle_check"),
        *("_idle_s", "_loop", "_max_head_bytes", "_method", "_parser", "_paused", "_progress_ns"),
        *("_reason", "_reusable", "_sink", "_switching", "_transport", "_upgrade", "_writable"),
        *("dialled_s", "idle_since_s", "request_sent"),
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        count_failure: Callable[[UpstreamFault], None],
        *,
        max_head_bytes: int,
        idle_s: float,
    ) -> None:
        self._loop = loop
        self._count_failure = count_failure
        self._max_head_bytes = max_head_bytes
        self._idle_s = idle_s
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._sink: Sink | None = None
        self._writable: asyncio.Future[None] | None = None  # while writing is paused
        self._idle_check: asyncio.TimerHandle | None = None
        self._paused = False
        self._progress_ns = 0
        self._method = ""
        self._reason = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._head_bytes = 0
        self._held_bytes = 0  # read since the parser last handed something over
        self._body: list[bytes] = []  # what the read at hand holds
        self._head_done = False
        self._between_chunks = False  # the next byte begins a chunk of the final response
        self._framed = False  # whether the response's end is marked in its bytes
        self._chunk_done = False  # the parser's last word was the end of a chunk
        self._complete = False
        self._reusable = False
        self._upgrade = b""  # the protocols that the request asks for
        self._switching: tuple[bytes, Headers] | None = None  # the head of a 101
        self._early = b""  # what came behind that
        self.request_sent = False  # set by the proxy when all of the request was written
        self.dialled_s = self.idle_since_s = 0.0

    # -- the exchange, as the proxy drives it

    def begin(self, sink: Sink, method: str, upgrade: bytes = b"") -> None:
        """Start an exchange; `upgrade` lists the protocols that its request asks for."""
        self._sink = sink
        self._method = method
        self._upgrade = upgrade
        self._reset_head()
        self._head_done = self._framed = self._between_chunks = False
        self._complete = self._reusable = self.request_sent = False
        self._progress_ns = monotonic_ns()
        self._idle_check = self._loop.call_later(self._idle_s, self._check_idle)

    def write(self, data: bytes) -> None:
        """Send a piece of the request; without effect once the connection has failed."""
        if self._transport is not None:
            self._progress_ns = monotonic_ns()
            self._transport.write(data)

    async def drain(self) -> None:
        """Wait until the server takes more of the request, or the connection has failed."""
        if self._writable is not None:
            await self._writable

    def pause(self) -> None:
        """Stop reading: the client does not keep up."""
        self._paused = True
        if self._transport is not None:
            self._transport.pause_reading()

    def resume(self) -> None:
        """Go on reading."""
        self._paused = False
        self._progress_ns = monotonic_ns()
        if self._transport is not None:
            self._transport.resume_reading()

    def abort(self) -> None:
        """Close at once, which is what tells a server to stop generating."""
        self._sink = None
        self._stop_idle_check()
        if self._transport is not None:
            self._transport.abort()

    @property
    def usable(self) -> bool:
        """Whether a new exchange may begin here."""
        return (
            self._sink is None
            and self._reusable
            and self.request_sent
            and self._transport is not None
            and not self._transport.is_closing()
        )

    # -- asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport; a fresh connection is usable."""
        self._transport = cast("asyncio.Transport", transport)
        self._reusable = self.request_sent = True

    def data_received(self, data: bytes) -> None:
        """Parse one read and hand what it holds to the sink."""
        now_ns = monotonic_ns()
        sink = self._sink
        if sink is None:
            self.abort()  # a server that speaks unasked is out of step
            return
        self._progress_ns = now_ns
        if self._between_chunks and len(data) <= _MAX_CHUNK_BYTES:
            # The common read of a stream is one whole chunk. The parser has nothing to add to it
            # and need not see it: it stands at the beginning of a chunk before and after.
            line = _SIZE_LINES[len(data)]
            if line is not None and data.startswith(line) and data.endswith(b"\r\n"):
                sink.on_chunk(data, data[len(line) : len(data) - 2], now_ns)
                return
        self._held_bytes += len(data)
        broken = self._parse(data)
        if self._switching is not None and not broken:
            self._switch(sink, *self._switching)
            return
        # Behind a complete chunk, whatever ends with a line end would be a further size line and
        # have said so.
        self._between_chunks = self._chunk_done and data.endswith(b"\r\n") and not broken
        if self._body:
            pieces, self._body = self._body, []
            self._held_bytes = 0
            sink.on_body(pieces, now_ns)
        elif self._held_bytes > self._max_head_bytes:
            broken = True  # a status line, header or trailer without an end fills the parser
        if self._complete:
            if broken:
                self._reusable = False
            self._finish(sink)
        elif broken:
            self._fail(sink, End.CUT, UpstreamFault.PROTOCOL)
        else:
            sink.flush()

    def eof_received(self) -> None:
        """Let the transport close itself: a server that has said all of it is of no more use."""
        # TLS that ends without its farewell does not come by here (RFC 9112, 9.8).
        self._complete = self._head_done and not self._framed

    def connection_lost(self, exc: Exception | None) -> None:
        """End the exchange: cleanly if closing was its framing."""
        self._transport = None
        self.resume_writing()
        sink = self._sink
        if sink is None:
            return
        if exc is None and self._complete:
            self._finish(sink)
        else:
            self._fail(sink, End.CUT, UpstreamFault.CLOSED if exc is None else UpstreamFault.RESET)

    def pause_writing(self) -> None:
        """Make `drain` wait."""
        self._writable = self._loop.create_future()

    def resume_writing(self) -> None:
        """Let `drain` go on."""
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        self._writable = None

    # -- httptools' side; an exception here breaks the exchange

    def on_message_begin(self) -> None:
        """Notice surplus: no client may see what follows a complete response."""
        if self._complete:
            self._reusable = False

    def on_status(self, reason: bytes) -> None:
        """Take a piece of the reason phrase."""
        self._reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header, or a trailer once the head is over; surplus has neither."""
        if self._complete:
            return
        self._head_bytes += len(name) + len(value)
        if self._head_bytes > self._max_head_bytes:
            raise ValueError("the response head is too large")
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Hand a head to the sink."""
        sink = self._sink
        if self._complete or sink is None:
            return
        status = self._parser.get_status_code()
        headers, reason = self._headers, self._reason
        self._reset_head()
        if status == 101:
            may_switch = self.request_sent and self._writable is None
            if not (may_switch and was_asked_for(find_header(headers, b"upgrade"), self._upgrade)):
                raise ValueError("the server switches protocols unasked, or too early")
            self._switching = reason, headers
            return
        if status < 200:
            sink.on_informational(status, reason, headers)
            return
        coding = find_header(headers, b"transfer-encoding").strip().lower()
        if coding not in {b"", b"chunked"}:
            # The parser would take chunks apart, and the other coding's name stops here.
            raise ValueError("the server uses a transfer coding that nobody asked for")
        chunked = bool(coding)
        bodiless = self._method == "HEAD" or status in {204, 304}
        self._head_done = True
        self._framed = chunked or bodiless or bool(find_header(headers, b"content-length"))
        sink.on_head(status, reason, headers, chunked=chunked)
        if self._method == "HEAD":
            # The parser does not know the method and would wait for the body.
            self._complete = True
            self._reusable = self._may_be_used_again()
            self._parser = httptools.HttpResponseParser(self)

    def on_chunk_header(self) -> None:
        """Note that a chunk has begun."""
        self._chunk_done = False

    def on_chunk_complete(self) -> None:
        """Note that a chunk has ended."""
        self._chunk_done = not self._complete

    def on_body(self, data: bytes) -> None:
        """Take a contiguous piece of the body."""
        if self._complete:
            self._reusable = False  # a body that answers HEAD: its rest may still be under way
        else:
            self._body.append(data)

    def on_message_complete(self) -> None:
        """Note that the final response is complete."""
        self._chunk_done = False
        if self._head_done and not self._complete:
            self._complete = True
            self._reusable = self._may_be_used_again()

    def _may_be_used_again(self) -> bool:
        """Return whether the server keeps the connection open.

        Frameworks on uvicorn answer what they did not expect with a 500, do not say that they
        close, and do so: the next request would be lost.
        """
        return self._parser.get_status_code() != 500 and self._parser.should_keep_alive()

    # -- ends

    def _finish(self, sink: Sink) -> None:
        trailers = self._headers
        self._reset_head()
        self._sink = None
        self._stop_idle_check()
        sink.on_end(trailers)
        if self._paused:  # also by what has just been written: nobody else would resume it
            self.resume()

    def _parse(self, data: bytes) -> bool:
        """Show a read to the parser; return whether that breaks the exchange."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._early = data[upgrade.args[0] :]
            return self._switching is None
        except httptools.HttpParserError:
            return True
        # A 101 without `Connection: upgrade` leaves the parser waiting for a body.
        return self._switching is not None

    def _switch(self, sink: Sink, reason: bytes, headers: Headers) -> None:
        """Let go of the connection: from now on it is one end of a tunnel."""
        transport, self._transport = self._transport, None
        self._sink = None
        self._reusable = False
        self._stop_idle_check()
        if transport is not None:
            sink.on_switch(reason, headers, transport, self._early)

    def _fail(self, sink: Sink, end: End, reason: UpstreamFault) -> None:
        self._count_failure(reason)
        self.abort()
        sink.on_failure(end)

    def _reset_head(self) -> None:
        self._reason = b""
        self._headers = []
        self._head_bytes = self._held_bytes = 0

    def _check_idle(self) -> None:
        sink = self._sink
        if sink is None:
            return
        idle_s = (monotonic_ns() - self._progress_ns) / 10**9
        # A client that does not read, or does not send the rest of its request, is not the server's
        # fault; the listener minds it.
        blameless = self._paused or not (self.request_sent or self._writable is not None)
        if idle_s >= self._idle_s and not blameless:
            self._fail(sink, End.TIMED_OUT, UpstreamFault.TIMEOUT)
            return
        wait_s = self._idle_s if blameless else self._idle_s - idle_s
        self._idle_check = self._loop.call_later(wait_s, self._check_idle)

    def _stop_idle_check(self) -> None:
        if self._idle_check is not None:
            self._idle_check.cancel()
            self._idle_check = None
