"""How long the proxy waits for clients: one coarse timer for all of them.

A client may begin a head and not end it, announce a body and drip it, or ask for an answer and
not read it. Each holds a connection, and the last two hold one of the server's, too. A connection
is looked at from the moment when its client is waited for until a look finds that it no longer is,
so that this costs nothing where nobody waits: no request that has come whole, and no token.

A client may also leave while nobody reads from it; see `departures`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from aiohttp.web_protocol import RequestHandler

from .faults import ClientFault
from .heads import error_body, own_answer
from .proxy import UploadStalledError
from .tunnel import reset

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from aiohttp import StreamReader, web

    from .departures import Departures
    from .settings import TimeoutSettings

# How late a client is found out at most; a quarter of the shortest timeout where that is shorter.
_PERIOD_S: Final = 1.0
# What an upload has to bring in `timeouts.upload`: 68 B/s at the default, a quarter of what Kestrel
# asks for, and more than `slowhttptest` sends.
_UPLOAD_STEP_BYTES: Final = 4 * 1024
_HEAD_TIMEOUT: Final = own_answer(
    408, b"Request Timeout", error_body("The request did not arrive in time.", "head_timeout")
)


class Waiting(Protocol):
    """What waits for its client."""

    def look(self, now_s: float) -> bool:
        """Give the client up if it is due; return whether it is still waited for."""


class Sweep:
    """Look at the connections that wait for their clients, now and then.

    Args:
        loop: the running event loop.
        timeouts: after which clients are given up.
        count: told of each that is.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        timeouts: TimeoutSettings,
        count: Callable[[ClientFault], None],
    ) -> None:
        self._loop = loop
        self._waiting: set[Waiting] = set()
        self._timer: asyncio.TimerHandle | None = None
        self.head_s = timeouts.head.seconds
        self.upload_s = timeouts.upload.seconds
        self.download_s = timeouts.download.seconds
        self._period_s = min(_PERIOD_S, min(self.head_s, self.upload_s, self.download_s) / 4)
        self.count = count

    def add(self, waiting: Waiting) -> float:
        """Look at a connection until it waits no more; return the time that it begins to."""
        self._waiting.add(waiting)
        if self._timer is None:
            self._timer = self._loop.call_later(self._period_s, self._look)
        return self._loop.time()

    def close(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        now_s = self._loop.time()
        self._waiting = {waiting for waiting in self._waiting if waiting.look(now_s)}
        again = bool(self._waiting)
        self._timer = self._loop.call_later(self._period_s, self._look) if again else None


class PatientConnection(RequestHandler, ABC):
    """A client's connection, as far as the client may keep the proxy waiting.

    Args:
        server: aiohttp's, to which it belongs.
        sweep: what looks at it.
        departures: what watches it while nobody reads.
        keywords: aiohttp's.
    """

    __slots__ = (
        *("_departures", "_head_s", "_sweep", "_transport", "_unread_s", "_upload"),
        *("_upload_bytes", "_upload_s", "_watched"),
    )

    def __init__(
        self, server: web.Server, sweep: Sweep, departures: Departures, **keywords: Any
    ) -> None:
        super().__init__(server, **keywords)
        self._sweep = sweep
        self._departures = departures
        self._transport: asyncio.Transport | None = None  # as long as it is open, unlike aiohttp's
        self._watched = -1  # the descriptor, while nobody reads
        self._head_s = 0.0  # when a head began that has not ended
        self._upload: StreamReader | None = None  # a body that is needed
        self._upload_bytes = 0  # how far it was
        self._upload_s = 0.0  # at that time
        self._unread_s = 0.0  # when the client was last seen not to read

    @property
    @abstractmethod
    def reads_along(self) -> bool:
        """Whether an answer is under way and the client keeps up with it."""

    # -- what is awaited

    def await_head(self) -> None:
        """Take note that a head has begun, now or before."""
        if not self._head_s:
            self._head_s = self._sweep.add(self)

    def end_head(self) -> None:
        """Take note that a head has come."""
        self._head_s = 0.0

    def await_body(self, body: StreamReader) -> None:
        """Take note of a body, all of which may not have come."""
        if not body.is_eof():
            self._upload, self._upload_bytes = body, body.total_bytes
            self._upload_s = self._sweep.add(self)

    def settle(self, body: StreamReader) -> None:
        """Take note that an exchange has ended; its client may not have read all of it."""
        if body is self._upload:
            self._upload = None  # aiohttp may read on for a moment, and nobody needs it
        unread = self._transport is not None and self._transport.get_write_buffer_size()
        if unread and not self.writing_paused:
            self._unread_s = self._sweep.add(self)

    def pause_writing(self) -> None:
        """Take note that the client does not read."""
        super().pause_writing()
        self._unread_s = self._sweep.add(self)

    # -- what becomes of it

    def look(self, now_s: float) -> bool:
        """Give the client up if it is due; return whether it is still waited for."""
        transport = self._transport
        if transport is None or transport.get_protocol() is not self:
            return False  # lost, or one end of a tunnel
        waits = (self._awaits_head(now_s), self._awaits_body(now_s))
        return self._awaits_reader(transport, now_s) or any(waits)

    def _awaits_head(self, now_s: float) -> bool:
        if not self._head_s:
            return False
        if now_s - self._head_s <= self._sweep.head_s:
            return True
        self._head_s = 0.0
        if self.transport is not None:
            self._sweep.count(ClientFault.HEAD_TIMEOUT)
            self.transport.write(_HEAD_TIMEOUT)
            self.force_close()
        return False

    def _awaits_body(self, now_s: float) -> bool:
        body = self._upload
        if body is None or body.is_eof() or body.exception() is not None:
            return False
        if self._reading_paused or body._size:  # it is the server that does not keep up
            self._upload_s = now_s
        if body.total_bytes - self._upload_bytes >= _UPLOAD_STEP_BYTES:
            self._upload_bytes, self._upload_s = body.total_bytes, now_s
        if now_s - self._upload_s <= self._sweep.upload_s:
            return True
        self._sweep.count(ClientFault.UPLOAD_TIMEOUT)
        body.set_exception(UploadStalledError("the body does not come"))
        self.close()
        return False

    def _awaits_reader(self, transport: asyncio.Transport, now_s: float) -> bool:
        if self.reads_along or not transport.get_write_buffer_size():
            return False
        if now_s - self._unread_s <= self._sweep.download_s:
            return True
        self._sweep.count(ClientFault.DOWNLOAD_TIMEOUT)
        reset(transport)
        return False

    # -- departures

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        self._transport = cast("asyncio.Transport", transport)
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Let go of it."""
        self.forget_departure()
        self._transport = None
        super().connection_lost(exc)

    def forget_departure(self) -> None:
        """Let the event loop, or a tunnel, notice when the client leaves."""
        if self._watched >= 0:
            self._departures.forget(self._watched, self._depart)
            self._watched = -1

    def _pause_transport_reading(self) -> None:
        super()._pause_transport_reading()
        if self._transport is not None:
            self._watched = self._transport.get_extra_info("socket").fileno()
            self._departures.watch(self._watched, self._depart)

    def _resume_transport_reading(self) -> None:
        self.forget_departure()
        super()._resume_transport_reading()

    def _depart(self) -> None:
        if self._transport is not None:
            self._transport.abort()
