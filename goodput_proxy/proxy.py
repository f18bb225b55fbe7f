"""The story of one request, top to bottom.

1. The listener has read the head; that moment is t0.
2. If it is inference it gets a tap.
3. A connection to the upstream is taken from the pool, or dialled.
4. The head goes up, then the body while it arrives, with a bounded copy for the meter.
5. The response comes back through the relay, inside the upstream's callbacks; this
   coroutine sleeps until it has ended.
6. A client that leaves cancels this coroutine, in whatever phase: the upstream's
   connection is closed at once, for that is what stops a server from generating.
7. The tap judges and counts the request, exactly once.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from time import monotonic_ns
from typing import TYPE_CHECKING

from aiohttp.web import RequestPayloadError

from .classify import Passthrough
from .forwarded import Origin
from .heads import (
    Refusal,
    check_request,
    check_size,
    error_body,
    find_header,
    join_header,
    request_head,
)
from .pool import UpstreamError
from .record import End
from .relay import Relay, Upgrade
from .upgrades import offered

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from aiohttp import StreamReader

    from .heads import Headers
    from .meters import Choice, Meters
    from .pool import UpstreamPool
    from .settings import LimitSettings
    from .upstream import UpstreamConnection


class UploadStalledError(RequestPayloadError):
    """The client does not send the rest of its body; the listener has lost patience."""


class _BodyTooLargeError(RequestPayloadError):
    """The body is larger than the proxy is set to forward."""


@dataclass(slots=True)  # frozen, its making would cost three times as much
class Request:
    """A request whose head has been read, and the connection that it came by."""

    method: str
    target: str
    version: tuple[int, int]
    headers: Headers
    chunked: bool
    body: StreamReader
    keep_alive: bool
    t0_ns: int
    transport: asyncio.Transport
    take_early: Callable[[], bytes] | None = None  # where the request asks for another protocol


class Proxy:
    """Forward requests to the one upstream and have them judged.

    Args:
        pool: connections to the upstream.
        meters: what looks at requests, and counts them.
        limits: bounds on heads and bodies.
        tunnel_idle_s: seconds without a byte after which a tunnel is closed.
        tell_origin: whether the upstream is told of the client, in `X-Forwarded-*`.
    """

    def __init__(
        self,
        pool: UpstreamPool,
        meters: Meters,
        limits: LimitSettings,
        *,
        tunnel_idle_s: float,
        tell_origin: bool = False,
    ) -> None:
        self._pool = pool
        self._meters = meters
        self._limits = limits
        self._tunnel_idle_s = tunnel_idle_s
        self._tell_origin = tell_origin
        self._loop = asyncio.get_running_loop()
        self.in_flight = 0
        self.draining = False

    async def handle(self, request: Request, follow: Callable[[Relay], None]) -> bool:
        """Forward one request; return whether its connection may be used again.

        `follow` is told the relay that the client's flow control concerns from now on.
        """
        relay = Relay(
            request.transport,
            self._loop.create_future(),
            head_request=request.method == "HEAD",
            http10=request.version == (1, 0),
            keep_alive=request.keep_alive and not self.draining,
            queue=self._meters.queue,
            upgrade=self._make_upgrade(request),
        )
        try:
            check_size(request.target, request.headers, self._limits.head_bytes)
            target = check_request(
                request.method,
                request.target,
                request.version,
                request.headers,
                chunked=request.chunked,
            )
        except Refusal as refusal:
            relay.answer(refusal.status, refusal.reason, refusal.body)
            self.count_refusal()
            return False
        choice = self._meters.choose(
            request.method, target.partition("?")[0], request.headers, request.t0_ns
        )
        relay.tap = choice.tap
        follow(relay)
        self._begin(choice)
        try:
            await self._exchange(request, target, relay)
        except UpstreamError as error:
            relay.on_failure(error.end)
        except RequestPayloadError as error:
            _refuse_body(relay, error)
        except asyncio.CancelledError:
            if not (request.transport.is_closing() or relay.done.done()):
                relay.cut()  # the client is there: our own deadline ends the stream
            raise
        finally:
            self._end(choice, relay)
        return relay.keep_alive and not self.draining

    def count_refusal(self) -> None:
        """Count a request that was answered without being forwarded."""
        self._meters.passthrough(Passthrough.REFUSED)

    async def _exchange(self, request: Request, target: str, relay: Relay) -> None:
        if self._limits.body_bytes is not None:
            self._bound(int(find_header(request.headers, b"content-length") or 0))
        connection = await self._pool.acquire()
        try:
            connection.begin(relay, request.method, relay.protocol)
            relay.attach(connection)
            upload = self._upload(request, target, connection, relay)
            if request.body.is_eof():  # all of it is here: nothing in there has to wait
                await upload
            else:
                await self._run_beside(upload, relay.done)
            # Shielded: a future that our own cancellation ended would look like a response's end.
            await asyncio.shield(relay.done)
        finally:
            # Closes it, unless the exchange is complete: a server whose client has left stops.
            self._pool.release(connection)

    async def _upload(
        self, request: Request, target: str, connection: UpstreamConnection, relay: Relay
    ) -> None:
        """Send the request while it arrives; a cut upload is never given a proper end."""
        body, chunked, tap = request.body, request.chunked, relay.tap
        piece = body.read_nowait()
        size = len(piece)
        self._bound(size)
        head = request_head(
            request.method,
            target,
            request.headers,
            chunked=chunked,
            upgrade=relay.protocol,
            origin=_find_origin(request.transport) if self._tell_origin else None,
        )
        connection.write(head + _frame(piece, chunked=chunked))
        self._meters.overhead("request", monotonic_ns() - request.t0_ns)
        if tap is not None:
            tap.hear(piece)
        if not body.at_eof() and find_header(request.headers, b"expect"):
            relay.on_continue()
        while not body.at_eof():
            await connection.drain()
            piece = await body.readany()
            size += len(piece)
            self._bound(size)
            connection.write(_frame(piece, chunked=chunked))
            if tap is not None:
                tap.hear(piece)
        if chunked:
            connection.write(b"0\r\n\r\n")
        connection.request_sent = True
        if size:
            self._meters.overhead("upload", monotonic_ns() - request.t0_ns)
        if tap is not None:
            tap.ask()

    def _bound(self, body_bytes: int) -> None:
        if self._limits.body_bytes is not None and body_bytes > self._limits.body_bytes:
            raise _BodyTooLargeError

    async def _run_beside(
        self, upload: Coroutine[None, None, None], done: asyncio.Future[None]
    ) -> None:
        """Upload until that is done, or the response has ended before it."""
        task = self._loop.create_task(upload)
        try:
            await asyncio.wait((task, done), return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                task.result()
        finally:
            task.cancel()

    def _make_upgrade(self, request: Request) -> Upgrade | None:
        if request.take_early is None or not request.body.at_eof():
            return None
        protocol = offered(join_header(request.headers, b"upgrade"))
        meter = self._meters.watch(request.target, request.headers, protocol)
        return Upgrade(protocol, request.take_early, self._tunnel_idle_s, meter)

    def _begin(self, choice: Choice) -> None:
        self.in_flight += 1
        self._meters.begin(choice)

    def _end(self, choice: Choice, relay: Relay) -> None:
        self.in_flight -= 1
        self._meters.end(choice)
        if relay.tunnel is not None:
            if not relay.tunnel.measured:
                self._meters.passthrough(Passthrough.TUNNEL)
        elif choice.tap is not None:
            choice.tap.finish(relay.end, monotonic_ns())
        else:
            self._meters.passthrough(choice.kind)


def _refuse_body(relay: Relay, error: RequestPayloadError) -> None:
    """Tell a client what is wrong with its body, as far as that is still possible."""
    if relay.status is not None:
        relay.cut(End.CLIENT_LEFT)
        return
    if relay.tap is not None:
        # The caller's fault, and no cancellation. A 408 of the server's would be the server's.
        relay.tap.begin(400, "", "")
    relay.end = End.CLEAN
    match error:
        case UploadStalledError():
            body = error_body("The body did not arrive in time.", "upload_timeout")
            relay.answer(408, b"Request Timeout", body)
        case _BodyTooLargeError():
            body = error_body("The body is larger than is forwarded here.", "body_too_large")
            relay.answer(413, b"Content Too Large", body)
        case _:
            body = error_body("The body is malformed.", "bad_body")
            relay.answer(400, b"Bad Request", body)


def _find_origin(transport: asyncio.Transport) -> Origin:
    """Return where a client's connection comes from."""
    scheme = b"https" if transport.get_extra_info("sslcontext") is not None else b"http"
    return Origin(transport.get_extra_info("peername")[0].encode(), scheme)


def _frame(piece: bytes, *, chunked: bool) -> bytes:
    """Return a piece of a body as it goes on the wire; an empty chunk would end the body."""
    return b"%x\r\n%b\r\n" % (len(piece), piece) if chunked and piece else piece
