"""Two connections that have become one, after an upgrade: bytes both ways, nothing parsed.

From the 101 on, the protocols of both transports are pumps. A pump writes what it reads to the
other side, stops reading while the other side does not keep up, passes on a half-close and goes
on the other way, and passes on a reset as a reset. When both sides have ended, both are closed.
The protocols that stood there before are told when their connection is lost, so that they clean
up after themselves.

It has ended when both sides have sent all, when a side is gone, when neither has sent a byte for
`idle_s`, and at the deadline of a drain. By whom it has ended, and when, is told by the side that
was the first to end its own half: the other may take its time. What is still to be written then is
written, for `idle_s` at most.

TLS knows no half-close (asyncio has none): with TLS on a side, the first end is both.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from time import monotonic_ns
from typing import TYPE_CHECKING, Final, Protocol, cast

from .record import End

if TYPE_CHECKING:
    from collections.abc import Callable

    from .heads import Headers

_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)


class Watcher(Protocol):
    """What is shown the bytes of a tunnel, when they have been written."""

    def begin(self, headers: Headers) -> None:
        """Take the head of the 101."""

    def from_client(self, data: bytes, now_ns: int) -> None:
        """Take bytes that the client has sent."""

    def from_server(self, data: bytes, now_ns: int) -> None:
        """Take bytes that the server has sent."""

    def finish(self, end: End, end_ns: int) -> None:
        """Take note of how the tunnel has ended."""


class Tunnel:
    """A tunnel between the client's transport and the upstream's.

    Args:
        client: the client's transport.
        server: the upstream's.
        finish: told how the tunnel has ended, once.
        idle_s: seconds without a byte from either side after which it is closed.
        watcher: the meter, if the tunnel carries inference.
    """

    def __init__(
        self,
        client: asyncio.Transport,
        server: asyncio.Transport,
        finish: Callable[[End], None],
        *,
        idle_s: float,
        watcher: Watcher | None = None,
    ) -> None:
        self._finish = finish
        self._watcher = watcher
        self._idle_s = idle_s
        self._ended = False
        self._first: End | None = None  # by whom it ends, as soon as one side has
        self._first_ns = 0
        self.progress_ns = monotonic_ns()
        show = (watcher.from_client, watcher.from_server) if watcher else (None, None)
        self._client = Pump(self, client, show[0], End.CLIENT_LEFT)
        self._server = Pump(self, server, show[1], End.CUT)
        self._client.peer, self._server.peer = self._server, self._client
        self._loop = asyncio.get_running_loop()
        self._idle_check = self._loop.call_later(idle_s, self._check_idle)

    @property
    def measured(self) -> bool:
        """Whether a meter looks at what passes."""
        return self._watcher is not None

    def open(self, from_client: bytes, from_server: bytes, *, client_full: bool) -> None:
        """Begin, with the bytes that each side had sent before.

        `client_full` says that the client's transport has asked for no more, and will say when.
        """
        pumps = (self._client, self._server)
        for pump in pumps:  # both, before anything is written: who is written to may be full
            pump.take_over()
        self._client.transport.resume_reading()
        if client_full:  # since the 101 was written: while it was awaited the server was read
            self._client.pause_writing()
        else:
            self._server.transport.resume_reading()
        for pump, early in zip(pumps, (from_client, from_server), strict=True):
            if early:
                pump.data_received(early)

    def close(self, end: End) -> None:
        """End both connections as they stand; what is still to be written is written."""
        self._end(end)
        for pump in (self._client, self._server):
            pump.transport.close()

    def half_closed(self, pump: Pump) -> None:
        """Take note that a side sends no more."""
        if self._first is None:
            self._first, self._first_ns = pump.end, monotonic_ns()
        if pump.peer.ended or not pump.peer.transport.can_write_eof():
            self.close(self._first)
        elif not pump.peer.transport.is_closing():
            pump.peer.transport.write_eof()

    def lost(self, pump: Pump, exc: Exception | None) -> None:
        """Take note that a side is gone, and let the other side go in the same way."""
        self._end(self._first or pump.end)
        if pump.peer.lost:
            self._idle_check.cancel()
        elif exc is None:
            pump.peer.transport.close()
        else:
            reset(pump.peer.transport)

    def _end(self, end: End) -> None:
        if not self._ended:
            self._ended = True
            if self._watcher is not None:
                self._watcher.finish(end, self._first_ns if end is self._first else monotonic_ns())
            self._finish(end)

    def _check_idle(self) -> None:
        wait_s = self._idle_s - (monotonic_ns() - self.progress_ns) / 10**9
        if wait_s > 0:
            self._idle_check = self._loop.call_later(wait_s, self._check_idle)
            return
        self._end(End.TIMED_OUT)
        for pump in (self._client, self._server):
            if pump.transport.get_write_buffer_size():
                reset(pump.transport)  # it has not taken them for so long, and would hold us
            else:
                pump.transport.close()


class Pump(asyncio.Protocol):
    """One side of a tunnel.

    Args:
        tunnel: the whole.
        transport: this side's.
        show: shown what this side sends.
        end: how the tunnel has ended when this side is the first to go.
    """

    peer: Pump

    def __init__(
        self,
        tunnel: Tunnel,
        transport: asyncio.Transport,
        show: Callable[[bytes, int], None] | None,
        end: End,
    ) -> None:
        self._tunnel = tunnel
        self._show = show
        self._before: asyncio.BaseProtocol | None = None
        self.transport = transport
        self.end = end
        self.ended = False  # this side sends no more
        self.lost = False  # it is gone

    def take_over(self) -> None:
        """Become the transport's protocol."""
        self._before = self.transport.get_protocol()
        self.transport.set_protocol(self)

    def data_received(self, data: bytes) -> None:
        """Write to the other side, then show it to the meter."""
        self._tunnel.progress_ns = now_ns = monotonic_ns()
        if not self.peer.transport.is_closing():
            self.peer.transport.write(data)
        if self._show is not None:
            self._show(data, now_ns)

    def eof_received(self) -> bool:
        """Pass the half-close on; this side is still written to, until that side ends, too."""
        self.ended = True
        self._tunnel.half_closed(self)
        return self.transport.can_write_eof()  # TLS closes, and would warn if told otherwise

    def pause_writing(self) -> None:
        """Let the other side read no more: this one does not keep up."""
        self.peer.transport.pause_reading()

    def resume_writing(self) -> None:
        """Let the other side read on."""
        self.peer.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """End the tunnel, and tell who had the connection before."""
        self.lost = True
        self._tunnel.lost(self, exc)
        if self._before is not None:
            cast("asyncio.Protocol", self._before).connection_lost(exc)


def reset(transport: asyncio.Transport) -> None:
    """Close a connection so that its peer sees a reset, and not an end."""
    sock = transport.get_extra_info("socket")
    if sock is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    transport.abort()
