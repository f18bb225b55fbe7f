"""The data path of one process: from the clients' port to the upstream, and how it stops.

Draining is ordered, and each step has its reason:
  1. For `drain.delay` requests are still taken, with `Connection: close`: those who send learn
     with a delay that `/readyz` fails.
  2. The port is closed; idle connections go, running streams go on.
  3. After `drain.timeout` what still runs is cut, visibly.
"""

from __future__ import annotations

import asyncio
import contextlib
from time import monotonic_ns
from typing import TYPE_CHECKING

import structlog
from aiohttp import web

from .address import Listen
from .descriptors import affordable_connections
from .listener import Listener
from .meters import Meters
from .policy import build_policy
from .pool import UpstreamError, UpstreamPool
from .proxy import Proxy
from .sites import open_site

if TYPE_CHECKING:
    from collections.abc import Callable

    from .faults import UpstreamFault
    from .judged import Observer
    from .ledger import Ledger
    from .settings import Settings
    from .tls import AllCredentials, Credentials

_log = structlog.get_logger()

_LAG_PROBE_S = 0.25
_DRAIN_POLL_S = 0.05


class Traffic:
    """What takes requests and passes them on.

    Args:
        settings: validated settings.
        ledger: where everything is counted.
        credentials: for TLS on either side.
        shared: whether other processes listen on the same port.
    """

    def __init__(
        self,
        settings: Settings,
        ledger: Ledger,
        credentials: AllCredentials,
        *,
        shared: bool = False,
    ) -> None:
        timeouts, limits = settings.timeouts, settings.limits
        self._settings = settings
        self._credentials = credentials
        self._shared = shared
        self._lag_probe: asyncio.Task[None] | None = None
        self.meters = Meters(
            build_policy(settings), ledger, limits, asyncio.get_running_loop().call_soon
        )
        self._pool = make_pool(settings, self.meters.upstream_error, credentials.upstream)
        self.proxy = Proxy(
            self._pool,
            self.meters,
            limits,
            tunnel_idle_s=timeouts.tunnel.seconds,
            tell_origin=settings.forwarded_headers,
        )
        self._affordable = affordable_connections()
        self.listener = Listener(
            self.proxy,
            limits,
            timeouts,
            self.meters.client_fault,
            max_connections=min(limits.connections, self._affordable),
        )
        self._runner = web.ServerRunner(self.listener, shutdown_timeout=1.0)

    @property
    def draining(self) -> bool:
        """Whether it has begun to stop."""
        return self.proxy.draining

    async def open(self) -> str:
        """Listen, and return the URL.

        Raises:
            ConfigError: when the address cannot be listened on.
        """
        settings = self._settings
        url = await open_site(
            self._runner,
            settings.listen,
            "listen",
            self._credentials.listen,
            handshake_s=settings.timeouts.tls_handshake.seconds,
            shared=self._shared,
        )
        self._pool.own = [Listen(*address[:2]) for address in self._runner.addresses]
        self._lag_probe = asyncio.create_task(self._measure_lag())
        if self._affordable < settings.limits.connections:
            _log.warning(
                "file descriptors allow fewer connections",
                limit="RLIMIT_NOFILE",
                wanted=settings.limits.connections,
                allowed=self._affordable,
            )
        return url

    def apply(self, settings: Settings, observers: tuple[Observer, ...]) -> None:
        """Judge new requests by these settings, and tell these of each verdict."""
        self.meters.policy = build_policy(settings)
        self.meters.observers = observers

    async def find_obstacle(self) -> str:
        """Return why no traffic should be sent here, as far as the upstream is concerned."""
        return await find_obstacle(self._pool)

    async def drain(self) -> None:
        """Let what runs finish, in the order that this file's head gives."""
        proxy, drain = self.proxy, self._settings.drain
        proxy.draining = True
        _log.info("draining", in_flight=proxy.in_flight)
        await asyncio.sleep(drain.delay.seconds)
        for site in list(self._runner.sites):
            await site.stop()
        self.listener.close_idle()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(drain.timeout.seconds):
                while proxy.in_flight:  # noqa: ASYNC110 -- an event would cost every request
                    await asyncio.sleep(_DRAIN_POLL_S)
        _log.info("stopped", cut=proxy.in_flight)

    async def close(self) -> None:
        """Cut what still runs, and close everything."""
        if self._lag_probe is not None:
            self._lag_probe.cancel()
        await self.listener.cut()
        await self._runner.cleanup()
        self._pool.close()

    async def _measure_lag(self) -> None:
        """Record how late timers fire: whatever holds the loop up holds tokens up."""
        while True:
            # Not loop.time(): uvloop's has a resolution of 1 ms.
            due_ns = monotonic_ns() + round(_LAG_PROBE_S * 10**9)
            await asyncio.sleep(_LAG_PROBE_S)
            self.meters.loop_lag(max(0, monotonic_ns() - due_ns))


def make_pool(
    settings: Settings,
    count_failure: Callable[[UpstreamFault], None],
    tls: Credentials | None,
) -> UpstreamPool:
    """Return the connections to the upstream that the settings name."""
    timeouts = settings.timeouts
    return UpstreamPool(
        settings.upstream,
        count_failure,
        connect_s=timeouts.connect.seconds,
        idle_s=timeouts.idle.seconds,
        keepalive_s=timeouts.upstream_keepalive.seconds,
        max_age_s=timeouts.upstream_age.seconds,
        max_head_bytes=settings.limits.head_bytes,
        tls=tls.context if tls is not None else None,
        server_name=settings.upstream_tls.server_name,
    )


async def find_obstacle(pool: UpstreamPool) -> str:
    """Return why the upstream takes no connection, empty when it does."""
    try:
        await pool.probe()
    except UpstreamError as error:
        return f"the upstream is not reachable: {error}"
    return ""
