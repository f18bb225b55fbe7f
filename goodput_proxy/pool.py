"""Connections to the one upstream, kept for reuse.

Nothing is ever sent twice: another connection is dialled only while not one byte of the
request was written. Idle connections are used newest first, are kept for less time than
servers keep them (uvicorn: 5 s), and are never used once the server has closed them or has
said anything unasked. Nor is one used when it is old: under steady traffic it would never be idle
for long, and so outlast any change of the address that the upstream's name stands for.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

from .address import is_listening_at
from .faults import UpstreamFault
from .record import End
from .tls import bound_buffers
from .upstream import UpstreamConnection

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Sequence

    from .address import Listen, Upstream


class UpstreamError(Exception):
    """No connection could be had; `end` says in what way."""

    def __init__(self, end: End, reason: str) -> None:
        super().__init__(reason)
        self.end = end
        self.reason = reason


class UpstreamPool:
    """Connections to one upstream, newest used first.

    Args:
        upstream: where it is.
        count_failure: told a reason each time that the upstream breaks something.
        connect_s: seconds that dialling may take.
        idle_s: seconds without progress after which an exchange is broken off.
        keepalive_s: seconds for which an idle connection is kept.
        max_age_s: seconds since it was dialled for which a connection is used again.
        max_head_bytes: bound of a response head.
        tls: context for `https://`.
        server_name: that its certificate must bear, if not the host.
    """

    def __init__(
        self,
        upstream: Upstream,
        count_failure: Callable[[UpstreamFault], None],
        *,
        connect_s: float,
        idle_s: float,
        keepalive_s: float,
        max_age_s: float,
        max_head_bytes: int,
        tls: ssl.SSLContext | None = None,
        server_name: str | None = None,
    ) -> None:
        self._upstream = upstream
        self._count_failure = count_failure
        self._connect_s = connect_s
        self._idle_s = idle_s
        self._keepalive_s = keepalive_s
        self._max_age_s = max_age_s
        self._max_head_bytes = max_head_bytes
        self._tls = tls
        self._server_name = server_name if tls is not None else None
        self.own: Sequence[Listen] = ()  # where the proxy itself listens, as soon as it does
        self._idle: list[UpstreamConnection] = []
        self._sweep: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()

    async def acquire(self) -> UpstreamConnection:
        """Return a connection on which an exchange may begin.

        Raises:
            UpstreamError: when none can be had.
        """
        oldest_s = self._loop.time() - self._keepalive_s
        while self._idle:
            connection = self._idle.pop()
            if connection.usable and connection.idle_since_s > oldest_s:
                return connection
            connection.abort()
        try:
            return await self._dial()
        except UpstreamError as error:
            timed_out = error.end is End.TIMED_OUT
            self._count_failure(
                UpstreamFault.CONNECT_TIMEOUT if timed_out else UpstreamFault.CONNECT
            )
            raise

    async def probe(self) -> None:
        """Dial once and hang up: a probe is no traffic, keeps nothing alive and counts nothing.

        Raises:
            UpstreamError: when the upstream takes no connection.
        """
        (await self._dial()).abort()

    def release(self, connection: UpstreamConnection) -> None:
        """Take a connection back whose exchange has ended; an unusable one is closed."""
        now_s = self._loop.time()
        if not connection.usable or now_s - connection.dialled_s > self._max_age_s:
            connection.abort()
            return
        connection.idle_since_s = now_s
        self._idle.append(connection)
        if self._sweep is None:
            self._sweep = self._loop.call_later(self._keepalive_s, self._close_expired)

    def close(self) -> None:
        """Close every idle connection."""
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        while self._idle:
            self._idle.pop().abort()

    async def _dial(self) -> UpstreamConnection:
        try:
            async with asyncio.timeout(self._connect_s):
                return await self._open()
        except TimeoutError:
            raise UpstreamError(End.TIMED_OUT, "connecting timed out") from None
        except (OSError, UnicodeError) as exc:  # the latter: a name that is no host's
            raise UpstreamError(End.CONNECT_FAILED, str(exc)) from None

    async def _open(self) -> UpstreamConnection:
        upstream, loop = self._upstream, self._loop
        if upstream.path:
            _, protocol = await loop.create_unix_connection(self._make, upstream.path)
        else:
            transport, protocol = await loop.create_connection(
                self._make,
                upstream.host,
                upstream.port,
                ssl=self._tls,
                server_hostname=self._server_name,
            )
            bound_buffers(transport)
            if _leads_to_any(transport, self.own):
                transport.abort()
                raise UpstreamError(End.CONNECT_FAILED, "it is this proxy itself")
        return cast("UpstreamConnection", protocol)

    def _make(self) -> asyncio.Protocol:
        connection = UpstreamConnection(
            self._loop,
            self._count_failure,
            max_head_bytes=self._max_head_bytes,
            idle_s=self._idle_s,
        )
        connection.dialled_s = self._loop.time()
        return cast("asyncio.Protocol", connection)

    def _close_expired(self) -> None:
        self._sweep = None
        now_s = self._loop.time()
        oldest_s = now_s - self._keepalive_s
        while self._idle and self._idle[0].idle_since_s <= oldest_s:
            self._idle.pop(0).abort()
        if self._idle:
            wait_s = self._idle[0].idle_since_s - oldest_s
            self._sweep = self._loop.call_later(wait_s, self._close_expired)


def _leads_to_any(transport: asyncio.BaseTransport, listeners: Sequence[Listen]) -> bool:
    """Return whether a connection leads to one of our own listeners: a request would circle."""
    far, near = (transport.get_extra_info(name) for name in ("peername", "sockname"))
    if not (far and near):  # it is closed already
        return False
    local = far[0] == near[0] or far[0].startswith("127.")
    return any(is_listening_at(own, far[0], far[1], local=local) for own in listeners)
