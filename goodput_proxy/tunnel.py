"""Two connections that have become one, after an upgrade: bytes both ways, nothing parsed.

From the 101 on, the protocols of both transports are pumps. A pump writes what it reads to the
other side, stops reading while the other side does not keep up, passes on a half-close and goes
on the other way, and passes on a reset as a reset. When both sides have ended, both are closed.
The protocols that stood there before are told when their connection is lost, so that they clean
up after themselves.

Ends: a tunnel is closed when neither side has sent a byte for `idle_s`, and at the deadline of a
drain.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from time import monotonic_ns
from typing import TYPE_CHECKING, Protocol, cast

from .record import End

if TYPE_CHECKING:
    from collections.abc import Callable

    from .heads import Headers

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


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

    def open(self, from_client: bytes, from_server: bytes) -> None:
        """Begin, with the bytes that each side had sent before."""
        for pump, early in ((self._client, from_client), (self._server, from_server)):
            pump.take_over()
            if early:
                pump.data_received(early)

    def close(self, end: End) -> None:
        """End both connections as they stand; what is still to be written is written."""
        self._end(end)
        for pump in (self._client, self._server):
            pump.transport.close()

    def ended_by(self, pump: Pump, exc: Exception | None) -> None:
        """Take note that a side is gone, and let the other side go in the same way."""
        clean = pump.ended and pump.peer.ended
        self._end(End.CLEAN if clean else pump.end)
        if exc is None:
            pump.peer.transport.close()
        else:
            reset(pump.peer.transport)

    def _end(self, end: End) -> None:
        self._idle_check.cancel()
        if not self._ended:
            self._ended = True
            if self._watcher is not None:
                self._watcher.finish(end, monotonic_ns())
            self._finish(end)

    def _check_idle(self) -> None:
        wait_s = self._idle_s - (monotonic_ns() - self.progress_ns) / 10**9
        if wait_s > 0:
            self._idle_check = self._loop.call_later(wait_s, self._check_idle)
        else:
            self.close(End.TIMED_OUT)


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

    def take_over(self) -> None:
        """Become the transport's protocol."""
        self._before = self.transport.get_protocol()
        self.transport.set_protocol(self)
        self.transport.resume_reading()

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
        if self.peer.ended or not self.peer.transport.can_write_eof():
            self._tunnel.close(End.CLEAN if self.peer.ended else self.end)
        elif not self.peer.transport.is_closing():
            self.peer.transport.write_eof()
        return True

    def pause_writing(self) -> None:
        """Let the other side read no more: this one does not keep up."""
        self.peer.transport.pause_reading()

    def resume_writing(self) -> None:
        """Let the other side read on."""
        self.peer.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """End the tunnel, and tell who had the connection before."""
        self._tunnel.ended_by(self, exc)
        if self._before is not None:
            cast("asyncio.Protocol", self._before).connection_lost(exc)


def reset(transport: asyncio.Transport) -> None:
    """Close a connection so that its peer sees a reset, and not an end."""
    if transport.is_closing():
        return
    sock = transport.get_extra_info("socket")
    if sock is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    transport.abort()
