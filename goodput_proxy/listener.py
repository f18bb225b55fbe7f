"""The side that faces clients: aiohttp's low-level server, and what it leaves to do.

aiohttp reads and parses requests (llhttp in C), keeps connections alive and cancels the
handler of a client that leaves. This file stamps heads when they are read, lets the client's
flow control reach the upstream without a task in between, answers malformed requests
without repeating them, turns connections away that are too many, and keeps aiohttp from writing
anything of its own: responses are written by the relay, so what handlers return has nothing left
to send.
"""

from __future__ import annotations

import asyncio
from collections import deque
from time import monotonic_ns
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakSet

from aiohttp import http_parser, web
from aiohttp.web import RequestPayloadError
from aiohttp.web_protocol import _ErrInfo

from .departures import Departures
from .faults import ClientFault
from .heads import error_body, find_header, own_answer
from .patience import PatientConnection, Sweep
from .proxy import Request
from .surplus import Doorman
from .tls import bound_buffers
from .upgrades import UpgradeFinder, may_switch

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp import StreamReader
    from aiohttp.http_parser import RawRequestMessage

    from .proxy import Proxy
    from .relay import Relay
    from .settings import LimitSettings, TimeoutSettings

# aiohttp reads on for this long after an answer that came before the end of the upload, so
# that the client can read the answer before it is reset.
_LINGER_S = 2.0
# A handler that is cancelled has nothing to wait for; this bounds one that does all the same.
_CUT_S = 1.0
# Per request; the parser pauses the client at twice as much.
_READ_BUFFER_BYTES = 64 * 1024


class _Sent:
    """What a handler returns when the relay has written the response: nothing is left to do.

    aiohttp calls these three names of a response and no others; a StreamResponse would cost
    3 us and has opinions about headers.
    """

    __slots__ = ("keep_alive",)

    def __init__(self, *, keep_alive: bool) -> None:
        self.keep_alive = keep_alive

    async def prepare(self, request: web.BaseRequest) -> None:
        """Write nothing."""

    async def write_eof(self) -> None:
        """Write nothing."""


_REUSE = cast("web.StreamResponse", _Sent(keep_alive=True))
_CLOSE = cast("web.StreamResponse", _Sent(keep_alive=False))


class ClientConnection(PatientConnection):
    """A client's connection.

    Args:
        coming: connections that have been accepted and not been made.
        arguments: aiohttp's and those of `PatientConnection`.
        keywords: likewise.
    """

    __slots__ = ("__weakref__", "_body", "_coming", "_finder", "_head_times_ns", "_relay")

    def __init__(self, coming: WeakSet[ClientConnection], *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self._coming = coming
        self._head_times_ns: deque[int] = deque()  # of requests that wait for their handler
        self._relay: Relay | None = None
        self._body: StreamReader | None = None  # of the newest request
        self._finder = UpgradeFinder()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        self._coming.discard(self)
        super().connection_made(transport)
        bound_buffers(cast("asyncio.Transport", transport))

    def take_head_time_ns(self) -> int:
        """Return when the head of the request at hand had been read."""
        if len(self._head_times_ns) > len(self._messages):
            return self._head_times_ns.popleft()
        # aiohttp has kept it back behind a request to upgrade, and parsed it just now.
        return monotonic_ns()

    @property
    def idle(self) -> bool:
        """Whether no request waits or is under way here."""
        return self._waiter is not None and not self._messages

    @property
    def task(self) -> asyncio.Task[None] | None:
        """What handles the requests of this connection, as long as it is open."""
        return self._task_handler

    @property
    def reads_along(self) -> bool:
        """Whether an answer is under way and the client keeps up with it."""
        return self._relay is not None and not self.writing_paused

    def follow(self, relay: Relay) -> None:
        """Let flow control concern this relay from now on."""
        self._relay = relay
        if self.writing_paused:
            relay.pause_writing()

    def settle(self, body: StreamReader) -> None:
        """Take note that an exchange has ended."""
        self._relay = None
        super().settle(body)

    def data_received(self, data: bytes) -> None:
        """Stamp the heads that this read completes; break off a body that it spoils."""
        now_ns = monotonic_ns()
        known = self._request_count
        self._parse(data)
        for _ in range(self._request_count - known):
            self._head_times_ns.append(now_ns)
        if self._request_count > known:
            self.end_head()
            message, body = self._messages[-1]
            if not isinstance(message, _ErrInfo):
                self._body = body
                self.await_body(body)
            elif self._body is not None and not self._body.is_eof():
                # aiohttp forgets the body in which the error stood: its reader would wait for ever.
                self._body.set_exception(RequestPayloadError("the body is malformed"))
                self.close()  # nothing that follows can be parsed
        elif data and (self.idle or not known):
            self.await_head()

    def _parse(self, data: bytes) -> None:
        """Let aiohttp parse a read, and hold back what follows a request for another protocol."""
        while not self._upgraded and (self._body is None or self._body.is_eof()):
            end = self._finder.find(data)
            if not end:
                break
            super().data_received(data[:end])
            data = data[end:]
            if not self._messages:
                break  # no head, but a body that aiohttp has not told us of
            message, body = self._messages[-1]
            if isinstance(message, _ErrInfo):
                return
            self._body = body
            if body.at_eof() and _asks_for_upgrade(message):
                self._upgraded = True  # aiohttp does so for WebSockets only
        super().data_received(data)

    def holds_behind(self, message: RawRequestMessage) -> bool:
        """Return whether a request asks for another protocol and what follows it is held back."""
        return self._upgraded and not self._messages and _asks_for_upgrade(message)

    def watch(self, body: StreamReader) -> None:
        """Mind a body whose beginning was held back, so that it has not been seen here."""
        if body is not self._body and not body.is_eof():
            self._body = body
            self.await_body(body)

    def take_early(self) -> bytes:
        """Return what the client has sent behind its request for another protocol."""
        self.forget_departure()
        early, self._message_tail = self._message_tail, b""
        return early

    def pause_writing(self) -> None:
        """Stop the upstream of this client."""
        super().pause_writing()
        if self._relay is not None:
            self._relay.pause_writing()

    def resume_writing(self) -> None:
        """Let the upstream of this client go on."""
        super().resume_writing()
        if self._relay is not None:
            self._relay.resume_writing()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what could not be parsed; after a head was passed on, only cut."""
        del request, message
        relay, transport = self._relay, self.transport
        if status >= 500:
            self.log_exception("a request failed inside the proxy", exc_info=exc)
        if transport is not None and (relay is None or relay.status is None):
            reason = b"Bad Request" if status < 500 else b"Internal Server Error"
            text = "The request is malformed." if status < 500 else "The proxy failed."
            body = error_body(text, "refused" if status < 500 else "internal")
            transport.write(own_answer(status, reason, body))
        return _CLOSE


def _asks_for_upgrade(message: RawRequestMessage) -> bool:
    """Return whether a request asks for another protocol that may be passed on."""
    protocols = find_header(message.raw_headers, b"upgrade")
    return message.upgrade and message.version.minor == 1 and may_switch(protocols)


class Listener(web.Server):
    """The server of client connections.

    Args:
        proxy: who handles requests.
        limits: bounds on heads.
        timeouts: how long clients are waited for.
        count_fault: told each time that a client's connection is closed on it.
        max_connections: at a time; those above are turned away.
    """

    def __init__(
        self,
        proxy: Proxy,
        limits: LimitSettings,
        timeouts: TimeoutSettings,
        count_fault: Callable[[ClientFault], None],
        *,
        max_connections: int,
    ) -> None:
        if http_parser.HttpRequestParser is http_parser.HttpRequestParserPy:
            raise RuntimeError("aiohttp's C parser is missing; reinstall aiohttp from a wheel")
        self._proxy = proxy
        loop = asyncio.get_running_loop()
        self._sweep = Sweep(loop, timeouts, count_fault)
        self._departures = Departures(loop)
        self._doorman = Doorman(loop, lambda: count_fault(ClientFault.SURPLUS))
        self._max_connections = max_connections
        # Many may be accepted in one turn of the loop, before the first of them is made; those that
        # are given up before they are made are just gone.
        self._coming: WeakSet[ClientConnection] = WeakSet()
        self._connection_arguments: dict[str, Any] = {
            "access_log": None,
            "auto_decompress": False,
            "keepalive_timeout": timeouts.keepalive.seconds,
            "lingering_time": _LINGER_S,
            "max_field_size": limits.head_bytes,
            "max_line_size": limits.head_bytes,
            "read_bufsize": _READ_BUFFER_BYTES,
        }
        super().__init__(self._handle, handler_cancellation=True)

    def __call__(self) -> ClientConnection:
        """Make the protocol of a new connection.

        The base class would swallow a wrong keyword and drop all of them.
        """
        if len(self._connections) + len(self._coming) >= self._max_connections:
            return cast("ClientConnection", self._doorman())
        connection = ClientConnection(
            self._coming,
            self,
            self._sweep,
            self._departures,
            loop=self._loop,
            **self._connection_arguments,
        )
        self._coming.add(connection)
        return connection

    def close_idle(self) -> None:
        """Close the connections without a request.

        aiohttp's `pre_shutdown` would leave them open and deaf, and the others too: an upload
        that is under way would never arrive.
        """
        for connection in self.connections:
            if cast("ClientConnection", connection).idle:
                connection.force_close()

    async def cut(self) -> None:
        """End every connection, and the requests that still run there.

        aiohttp's `shutdown` would wait first, with streams going on, and then close a connection
        before its handler: that could not tell our own deadline from a client that left.
        """
        tasks = [task for c in self.connections if (task := cast("ClientConnection", c).task)]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=_CUT_S)
        self._doorman.close()
        self._departures.close()
        self._sweep.close()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        connection = cast("ClientConnection", request.protocol)
        t0_ns = connection.take_head_time_ns()
        message = request._message
        connection.watch(request.content)
        keep_alive = await self._proxy.handle(
            Request(
                method=message.method,
                target=message.path,
                version=(message.version.major, message.version.minor),
                headers=message.raw_headers,
                chunked=message.chunked,
                body=request.content,
                keep_alive=not message.should_close,
                t0_ns=t0_ns,
                transport=cast("asyncio.Transport", request.transport),
                take_early=connection.take_early if connection.holds_behind(message) else None,
            ),
            connection.follow,
        )
        connection.settle(request.content)
        if request.content.exception() is not None:
            connection.force_close()  # aiohttp would go on reading, and log what it finds
        return _REUSE if keep_alive else _CLOSE
