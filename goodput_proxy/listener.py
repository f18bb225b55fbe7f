"""The side that faces clients: aiohttp's low-level server, and what it leaves to do.

aiohttp reads requests (see `reading`), keeps connections alive and cancels the handler of a client
that leaves. This file lets the client's flow control reach the upstream without a task in between,
answers malformed requests without repeating them, turns connections away that are too many, and
keeps aiohttp from writing anything of its own: responses are written by the relay, so what handlers
return has nothing left to send.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from aiohttp import http_parser, web
from aiohttp.http_exceptions import BadHttpMessage, LineTooLong

from .departures import Departures
from .faults import ClientFault
from .heads import HEAD_TOO_LARGE, MALFORMED, TARGET_TOO_LONG, Refusal, error_body, own_answer
from .patience import Sweep
from .proxy import Request
from .reading import ReadingConnection
from .surplus import Doorman
from .tls import bound_buffers

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp import StreamReader

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
# What a request line has beside its target, at the least.
_LINE_BYTES = len(b"GET  HTTP/1.1\r\n")
# How aiohttp says it; it bounds their number to 128.
_TOO_MANY_HEADERS = "Too many headers received"


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


class ClientConnection(ReadingConnection):
    """A client's connection.

    Args:
        coming: connections that have been accepted and not been made.
        arguments: those of `ReadingConnection`.
        keywords: likewise.
    """

    __slots__ = ("_coming", "_relay")

    def __init__(self, coming: Coming, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self._coming = coming
        self._relay: Relay | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        self._coming.pop(self, None)
        super().connection_made(transport)
        bound_buffers(cast("asyncio.Transport", transport))

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
        relay, transport, listener = self._relay, self.transport, cast("Listener", self._manager)
        if status >= 500:
            self.log_exception("a request failed inside the proxy", exc_info=exc)
            body = error_body("The proxy failed.", "internal")
            answer = own_answer(500, b"Internal Server Error", body)
        elif transport is not None:
            answer = listener.refuse(exc).answer()
        if transport is not None and (relay is None or relay.status is None):
            transport.write(answer)
        return _CLOSE


# Connections that have been accepted and not been made, and until when they may be, the oldest
# first. Many may be accepted in one turn of the loop, before the first of them is made; with TLS it
# is made behind the handshake, and of one that fails nobody is told.
Coming: TypeAlias = dict["ClientConnection", float]


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
        self._coming: Coming = {}
        self._handshake_s = timeouts.tls_handshake.seconds
        self._max_target_bytes = limits.head_bytes - _LINE_BYTES
        self._connection_arguments: dict[str, Any] = {
            "access_log": None,
            "auto_decompress": False,
            "keepalive_timeout": timeouts.keepalive.seconds,
            "lingering_time": _LINGER_S,
            "max_field_size": limits.head_bytes,
            "max_line_size": self._max_target_bytes,
            "read_bufsize": _READ_BUFFER_BYTES,
        }
        super().__init__(self._handle, handler_cancellation=True)

    def __call__(self) -> ClientConnection:
        """Make the protocol of a new connection.

        The base class would swallow a wrong keyword and drop all of them.
        """
        now_s = self._loop.time()
        while self._coming and next(iter(self._coming.values())) <= now_s:
            self._coming.pop(next(iter(self._coming)))
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
        self._coming[connection] = now_s + self._handshake_s
        return connection

    def refuse(self, exc: BaseException | None) -> Refusal:
        """Count a request that could not be parsed, and return what to answer to it."""
        self._proxy.count_refusal()
        if isinstance(exc, LineTooLong):
            # Only the target has this bound.
            too_long = exc.args[1] == self._max_target_bytes
            return Refusal(*(TARGET_TOO_LONG if too_long else HEAD_TOO_LARGE))
        if isinstance(exc, BadHttpMessage) and exc.message == _TOO_MANY_HEADERS:
            return Refusal(*HEAD_TOO_LARGE)
        return Refusal(*MALFORMED)

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
        message = request._message
        t0_ns = connection.take_head_time_ns(message)
        connection.watch(request.content)
        keep_alive = await self._proxy.handle(
            Request(
                method=message.method,
                target=message.path,
                version=(message.version.major, message.version.minor),
                headers=message.raw_headers,
                chunked=message.chunked,
                body=request.content,
                keep_alive=not (message.should_close or connection.ends_at(message)),
                t0_ns=t0_ns,
                transport=cast("asyncio.Transport", request.transport),
                take_early=connection.take_early if connection.holds_behind(message) else None,
            ),
            connection.follow,
        )
        connection.settle(request.content)
        if request.content.exception() is not None:
            connection.force_close()  # aiohttp would go on reading, and log what it finds
        # What follows the request may have shown only now.
        return _REUSE if keep_alive and not connection.ends_at(message) else _CLOSE
