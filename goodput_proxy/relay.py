"""The response path of one request: from the upstream's connection to the client's.

It runs inside the upstream's `data_received`: no task, future or queue per token. It frames
what the upstream sends for the client's connection, stops reading when the client does not
keep up, and shows a copy to the tap. It knows heads and framing; it must not know what the
bytes mean.

When an upstream breaks off after its head was passed on, no honest answer is left but a
connection that ends inside its framing; nothing is ever appended.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from .heads import Headers, error_body, find_header, own_answer, response_head, switch_head
from .record import End
from .tunnel import Tunnel, Watcher, reset

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from .tap import Tap
    from .tapqueue import TapQueue

_NO_BODY_STATUS: Final = frozenset((204, 304))


class Source(Protocol):
    """What the relay may ask of the upstream's connection."""

    def pause(self) -> None:
        """Stop reading."""

    def resume(self) -> None:
        """Go on reading."""


@dataclass(frozen=True, slots=True)
class Upgrade:
    """What a request that asks for another protocol brings along for it."""

    protocol: bytes
    take_early: Callable[[], bytes]  # what the client has sent behind the request
    idle_s: float
    watcher: Watcher | None = None  # the meter, if inference is expected


class Relay:
    """Pass one response on.

    Args:
        transport: the client's.
        done: resolved when the response has ended, one way or another.
        head_request: the request's method is HEAD.
        http10: the client speaks HTTP/1.0.
        keep_alive: the client's connection may be used again.
        queue: where the tap's work waits until the bytes are written.
        upgrade: of a request that asks for another protocol.
    """

    __slots__ = (
        "_body",
        "_body_ns",
        "_chunked",
        "_head_request",
        "_headers",
        "_http10",
        "_out",
        "_paused",
        "_queue",
        "_source",
        "_transport",
        "_until_close",
        "_upgrade",
        "done",
        "end",
        "keep_alive",
        "status",
        "tap",
        "tunnel",
    )

    def __init__(
        self,
        transport: asyncio.Transport,
        done: asyncio.Future[None],
        *,
        head_request: bool,
        http10: bool,
        keep_alive: bool,
        queue: TapQueue,
        upgrade: Upgrade | None = None,
    ) -> None:
        self._transport = transport
        self._head_request = head_request
        self._http10 = http10
        self._queue = queue
        self._upgrade = upgrade
        self._source: Source | None = None
        self._paused = False
        self._chunked = False
        self._until_close = False
        # Of the read at hand: what is to be written, and what the tap is to be shown after that.
        self._out: list[bytes] = []
        self._headers: Headers | None = None
        self._body = b""
        self._body_ns = 0
        self.done = done
        self.tap: Tap | None = None  # the meter; None for traffic that is not judged
        self.tunnel: Tunnel | None = None  # what the exchange has become after a 101
        self.keep_alive = keep_alive
        self.status: int | None = None  # of the head that was passed on
        self.end = End.CLIENT_LEFT  # what is true as long as nothing else has ended it

    @property
    def protocol(self) -> bytes:
        """The protocol that the request asks for, empty when it asks for none."""
        return self._upgrade.protocol if self._upgrade is not None else b""

    def attach(self, source: Source) -> None:
        """Connect the upstream whose reading follows the client's."""
        self._source = source
        if self._paused:
            source.pause()

    def pause_writing(self) -> None:
        """Stop the upstream: the client's buffer is full."""
        self._paused = True
        if self._source is not None:
            self._source.pause()

    def resume_writing(self) -> None:
        """Let the upstream go on: the client has caught up."""
        self._paused = False
        if self._source is not None:
            self._source.resume()

    def on_informational(self, status: int, reason: bytes, headers: Headers) -> None:
        """Pass a 1xx on; HTTP/1.0 does not know it, and 100 was answered before."""
        if not self._http10 and status != 100:
            self._out.append(response_head(status, reason, headers))

    def on_head(self, status: int, reason: bytes, headers: Headers, *, chunked: bool) -> None:
        """Pass a final response's head on."""
        bodiless = self._head_request or status in _NO_BODY_STATUS
        sized = bool(find_header(headers, b"content-length"))
        own = []
        if chunked or not (sized or bodiless):
            self._chunked = not self._http10
            self._until_close = self._http10
            if self._chunked and status not in _NO_BODY_STATUS:
                own.append(b"Transfer-Encoding: chunked")
        if bodiless:
            self._chunked = self._until_close = False
        if self._until_close:
            self.keep_alive = False
        if not self.keep_alive:
            own.append(b"Connection: close")
        elif self._http10:
            own.append(b"Connection: keep-alive")
        self.status = status
        self._out.append(response_head(status, reason, headers, own))
        self._headers = headers

    def on_body(self, pieces: list[bytes], now_ns: int) -> None:
        """Pass on the body bytes of one read; chunks that came whole leave whole."""
        if self._chunked:
            self._out += [b"%x\r\n%b\r\n" % (len(p), p) for p in pieces]
        else:
            self._out += pieces
        self._body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        self._body_ns = now_ns

    def flush(self) -> None:
        """Write what one read has brought, in one go; then show it to the tap."""
        if self._out:
            out, self._out = self._out, []
            self._write(out[0] if len(out) == 1 else b"".join(out))
        tap, headers, body = self.tap, self._headers, self._body
        self._headers, self._body = None, b""
        if tap is None:
            return
        if headers is not None and self.status is not None:
            content_type = find_header(headers, b"content-type").decode("latin-1")
            encoding = find_header(headers, b"content-encoding").decode("latin-1")
            tap.begin(self.status, content_type, encoding.strip().lower())
        if body and tap.feed(body, self._body_ns):
            self._queue.put(tap, self._body_ns)

    def on_chunk(self, chunk: bytes, data: bytes, now_ns: int) -> None:
        """Pass on a read that is one whole chunk, as it is; then show its data to the tap."""
        self._write(chunk if self._chunked else data)
        tap = self.tap
        if tap is not None and tap.feed(data, now_ns):
            self._queue.put(tap, now_ns)

    def on_switch(
        self, reason: bytes, headers: Headers, transport: asyncio.Transport, early: bytes
    ) -> None:
        """Pass a 101 on and join the two connections."""
        upgrade = self._upgrade
        if upgrade is None:
            raise RuntimeError("nobody has asked for another protocol")
        self.flush()
        self.keep_alive = False
        if self._transport.is_closing():  # the client has left, and the loop is about to say so
            transport.abort()
            self._finish(End.CLIENT_LEFT)
            return
        self.status = 101
        self._write(switch_head(reason, headers))
        if upgrade.watcher is not None:
            upgrade.watcher.begin(headers)
        self.tunnel = Tunnel(
            self._transport,
            transport,
            self._finish,
            idle_s=upgrade.idle_s,
            watcher=upgrade.watcher,
        )
        self.tunnel.open(upgrade.take_early(), early, client_full=self._paused)

    def on_end(self, trailers: Headers) -> None:
        """Pass the clean end of the response on."""
        if self._chunked:
            lines = [b"0", *(b"%b: %b" % trailer for trailer in trailers), b"\r\n"]
            self._out.append(b"\r\n".join(lines))
        self.flush()
        self._finish(End.CLEAN)

    def on_failure(self, end: End) -> None:
        """Tell the client that the upstream failed, as far as that is still possible."""
        self.flush()
        if self.status is None:
            if end is End.TIMED_OUT:
                message = "The inference server did not answer in time."
                self.answer(504, b"Gateway Timeout", error_body(message, "timeout"))
            elif end is End.CONNECT_FAILED:
                message = "The inference server could not be reached."
                self.answer(502, b"Bad Gateway", error_body(message, "unreachable"))
            else:
                message = "The inference server broke off before it had answered."
                self.answer(502, b"Bad Gateway", error_body(message, "bad_gateway"))
        self.cut(end)

    def cut(self, end: End = End.CUT) -> None:
        """End the response as it stands, so that the client sees that it is not whole."""
        self.keep_alive = False
        if self.tunnel is not None:
            self.tunnel.close(end)
        if self._until_close and not self.done.done():
            reset(self._transport)  # without framing only this tells a cut answer from a whole one
        self._finish(end)

    def on_continue(self) -> None:
        """Ask an HTTP/1.1 client for the body that it waits to send."""
        if not self._http10:
            self._write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def answer(self, status: int, reason: bytes, body: bytes) -> None:
        """Answer in the upstream's place, and close the connection."""
        self.keep_alive = False
        self._write(own_answer(status, reason, body, to_head=self._head_request))
        self._finish(self.end)

    def _write(self, data: bytes) -> None:
        try:
            self._transport.write(data)
        except RuntimeError:
            # uvloop: the client is gone, and the loop has not come round to saying so. It will,
            # and that ends this exchange.
            return

    def _finish(self, end: End) -> None:
        self.end = end
        self._source = None
        if not self.done.done():
            self.done.set_result(None)
