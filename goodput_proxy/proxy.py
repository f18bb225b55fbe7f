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

from .body import RequestBody
from .classify import Passthrough, Route, classify
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
from .realtime import RealtimeMeter
from .record import End
from .relay import Relay, Upgrade
from .stream import Api, is_realtime
from .tap import InferenceHead, Tap
from .tapqueue import TapQueue
from .upgrades import offered

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from aiohttp import StreamReader

    from .heads import Headers
    from .judged import Observer
    from .metrics import Metrics
    from .policy import Policy
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
        policy: the SLO classes.
        metrics: where everything is counted.
        limits: bounds on what is looked into.
        tunnel_idle_s: seconds without a byte after which a tunnel is closed.
        tell_origin: whether the upstream is told of the client, in `X-Forwarded-*`.
    """

    def __init__(
        self,
        pool: UpstreamPool,
        policy: Policy,
        metrics: Metrics,
        limits: LimitSettings,
        *,
        tunnel_idle_s: float,
        tell_origin: bool = False,
    ) -> None:
        self._pool = pool
        self.policy = policy  # requests in flight keep the one they began with
        self._metrics = metrics
        self._limits = limits
        self._tunnel_idle_s = tunnel_idle_s
        self.observers: tuple[Observer, ...] = ()
        self._tell_origin = tell_origin
        self._loop = asyncio.get_running_loop()
        self._queue = TapQueue(self._loop.call_soon, metrics)
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
            queue=self._queue,
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
        path = target.partition("?")[0]
        route = classify(request.method, path)
        tap = relay.tap = self._make_tap(request, route, path)
        follow(relay)
        self.in_flight += 1
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
            self._end(tap, relay, route)
        return relay.keep_alive and not self.draining

    def count_refusal(self) -> None:
        """Count a request that was answered without being forwarded."""
        self._metrics.passthrough(Passthrough.REFUSED)

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
        copy = RequestBody(self._limits.body_scan_bytes if tap is not None else 0)
        piece = body.read_nowait()
        self._bound(len(piece))
        head = request_head(
            request.method,
            target,
            request.headers,
            chunked=chunked,
            upgrade=relay.protocol,
            origin=_find_origin(request.transport) if self._tell_origin else None,
        )
        connection.write(head + _frame(piece, chunked=chunked))
        self._metrics.overhead("request", monotonic_ns() - request.t0_ns)
        copy.add(piece)
        if not body.at_eof() and find_header(request.headers, b"expect"):
            relay.on_continue()
        while not body.at_eof():
            await connection.drain()
            piece = await body.readany()
            self._bound(copy.size + len(piece))
            connection.write(_frame(piece, chunked=chunked))
            copy.add(piece)
        if chunked:
            connection.write(b"0\r\n\r\n")
        connection.request_sent = True
        if copy.size:
            self._metrics.overhead("upload", monotonic_ns() - request.t0_ns)
        if tap is not None:
            tap.ask(copy.take())

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

    def _make_tap(self, request: Request, route: Route | Passthrough, path: str) -> Tap | None:
        if not isinstance(route, Route):
            return None
        if route.endpoint.api is Api.EMBEDDINGS and not self.policy.names(path):
            return None
        in_flight = self._metrics.begin()
        head = InferenceHead(route, path, request.headers, request.t0_ns, in_flight)
        return Tap(head, self.policy, self._metrics, self._limits, self.observers)

    def _make_upgrade(self, request: Request) -> Upgrade | None:
        if request.take_early is None or not request.body.at_eof():
            return None
        protocol = offered(join_header(request.headers, b"upgrade"))
        meter = None
        if protocol.lower() == b"websocket" and is_realtime(request.target.partition("?")[0]):
            meter = RealtimeMeter(
                request.target,
                request.headers,
                self.policy,
                self._metrics,
                self._limits,
                queue=self._queue,
                observers=self.observers,
            )
        return Upgrade(protocol, request.take_early, self._tunnel_idle_s, meter)

    def _end(self, tap: Tap | None, relay: Relay, route: Route | Passthrough) -> None:
        self.in_flight -= 1
        if tap is not None:
            self._metrics.end()
        if relay.tunnel is not None:
            if not relay.tunnel.measured:
                self._metrics.passthrough(Passthrough.TUNNEL)
        elif tap is not None:
            tap.finish(relay.end, monotonic_ns())
        else:
            aside = Passthrough.EMBEDDING if isinstance(route, Route) else route
            self._metrics.passthrough(aside)


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
