"""The composition root and the life of the process: start, serve, drain, stop.

Stopping is ordered, and each step has its reason:
  1. `/readyz` fails at once, so that no new traffic is sent here.
  2. For `drain.delay` requests are still taken, with `Connection: close`: those who send
     learn of step 1 with a delay.
  3. The traffic port is closed; idle connections go, running streams go on.
  4. After `drain.timeout` what still runs is cut, visibly.
  5. Upstream connections and, last, the admin port are closed: the final counts can be
     scraped until then.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import sys
from time import monotonic_ns
from typing import TYPE_CHECKING

import structlog
from aiohttp import web

from .address import Listen
from .admin import Admin
from .certificates import TlsError
from .descriptors import affordable_connections, raise_limit
from .listener import Listener
from .live.routes import LiveView
from .log import configure_logging
from .meters import Meters
from .metrics import Metrics
from .policy import build_policy
from .pool import UpstreamError, UpstreamPool
from .proxy import Proxy
from .reload import Reloader
from .requestlog import RequestLog
from .settings import ConfigError
from .tls import TlsSite, keep_fresh, load_credentials

if TYPE_CHECKING:
    from collections.abc import Callable

    from .settings import Settings
    from .tls import Credentials

_log = structlog.get_logger()

_LAG_PROBE_S = 0.25
# The interpreter's default of 5 ms is how long a scrape may hold a token up.
_SWITCH_INTERVAL_S = 0.0005
_DRAIN_POLL_S = 0.05


class App:
    """The proxy with its two listeners.

    Args:
        settings: validated settings.
        load: reads them anew, for a reload; without it there is none.
    """

    def __init__(self, settings: Settings, load: Callable[[], Settings] | None = None) -> None:
        self._settings = settings
        policy = build_policy(settings)
        self.metrics = Metrics(policy, settings.limits.models)
        self._policy = policy
        self._reloader = Reloader(settings, load, self.apply, self.metrics) if load else None
        self._background: list[asyncio.Task[None]] = []
        self._live = LiveView(policy, self.metrics)
        self._admin = Admin(self.metrics, self._find_obstacle, self._live)
        self._listener: Listener | None = None
        self._traffic: web.ServerRunner | None = None
        self._admin_runner: web.AppRunner | None = None
        self._pool: UpstreamPool | None = None
        self._meters: Meters | None = None
        self._proxy: Proxy | None = None
        self.proxy_url = ""
        self.admin_url = ""

    async def start(self) -> None:
        """Open both listeners.

        Raises:
            ConfigError: when an address cannot be listened on, or a certificate is unusable;
                nothing is left open then.
        """
        settings, timeouts = self._settings, self._settings.timeouts
        try:
            credentials = load_credentials(settings, self.metrics)
        except TlsError as error:
            raise ConfigError([str(error)]) from None
        self._meters = Meters(
            self._policy, self.metrics, settings.limits, asyncio.get_running_loop().call_soon
        )
        self._pool = UpstreamPool(
            settings.upstream,
            self._meters.upstream_error,
            connect_s=timeouts.connect.seconds,
            idle_s=timeouts.idle.seconds,
            keepalive_s=timeouts.upstream_keepalive.seconds,
            max_age_s=timeouts.upstream_age.seconds,
            max_head_bytes=settings.limits.head_bytes,
            tls=credentials.upstream.context if credentials.upstream else None,
            server_name=settings.upstream_tls.server_name,
        )
        self._proxy = Proxy(
            self._pool,
            self._meters,
            settings.limits,
            tunnel_idle_s=timeouts.tunnel.seconds,
            tell_origin=settings.forwarded_headers,
        )
        self.apply(settings)
        wanted, affordable = settings.limits.connections, affordable_connections()
        self._listener = Listener(
            self._proxy,
            settings.limits,
            timeouts,
            self._meters.client_fault,
            max_connections=min(wanted, affordable),
        )
        self._traffic = web.ServerRunner(self._listener, shutdown_timeout=1.0)
        self._admin_runner = web.AppRunner(
            self._admin.application(), access_log=None, shutdown_timeout=1.0
        )
        try:
            self.admin_url = await self._listen(
                self._admin_runner, settings.admin_listen, "admin_listen", credentials.admin_listen
            )
            self.proxy_url = await self._listen(
                self._traffic, settings.listen, "listen", credentials.listen
            )
            self._pool.own = [Listen(*address[:2]) for address in self._traffic.addresses]
        except ConfigError:
            await self._close()
            raise
        self._live.proxy_url = self.proxy_url
        self._background.append(asyncio.create_task(_measure_lag(self._meters)))
        self._background.append(asyncio.create_task(keep_fresh(credentials)))
        if self._reloader is not None:
            self._background.append(asyncio.create_task(self._reloader.run()))
        _log.info(
            "listening",
            proxy_url=self.proxy_url,
            admin_url=self.admin_url,
            upstream=str(settings.upstream),
        )
        if affordable < wanted:
            _log.warning(
                "file descriptors allow fewer connections",
                limit="RLIMIT_NOFILE",
                wanted=wanted,
                allowed=affordable,
            )

    def apply(self, settings: Settings) -> None:
        """Bring into force what may change while traffic flows.

        Requests in flight keep the policy that they began with.
        """
        policy = build_policy(settings)
        if policy != self._policy:
            self.metrics.apply(policy)
            self._live.apply(policy)
            self._policy = policy
        if settings.log != self._settings.log:
            configure_logging(settings.log)
        self._settings = settings
        if self._meters is not None:
            log = RequestLog(settings.log)
            self._meters.policy = policy
            observers = (self._live.observe, log.write if log.wanted else None)
            self._meters.observers = tuple(filter(None, observers))

    async def stop(self) -> None:
        """Drain and close everything, in the order that this file's head gives."""
        proxy, traffic, drain = self._proxy, self._traffic, self._settings.drain
        listener = self._listener
        if proxy is None or traffic is None or listener is None:
            return
        proxy.draining = True
        _log.info("draining", in_flight=proxy.in_flight)
        await asyncio.sleep(drain.delay.seconds)
        for site in list(traffic.sites):
            await site.stop()
        listener.close_idle()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(drain.timeout.seconds):
                while proxy.in_flight:  # noqa: ASYNC110 -- an event would cost every request
                    await asyncio.sleep(_DRAIN_POLL_S)
        _log.info("stopped", cut=proxy.in_flight)
        await self._close()

    async def run(self) -> int:
        """Start, serve until SIGTERM or SIGINT, stop; a second signal cuts the drain short.

        Returns:
            The exit code: 0, or what a shell says of a process that the second signal has killed.
        """
        loop = asyncio.get_running_loop()
        stopping = asyncio.Event()
        raise_limit(self._settings.limits.connections)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopping.set)
        if self._reloader is not None:
            loop.add_signal_handler(signal.SIGHUP, self._reloader.ask)
        await self.start()
        sys.setswitchinterval(_SWITCH_INTERVAL_S)
        # What exists now lives as long as the process: the collector need not look at it.
        gc.collect()
        gc.freeze()
        await stopping.wait()
        draining = asyncio.create_task(self.stop())
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, draining.cancel, number)
        try:
            await draining
        except asyncio.CancelledError as exc:
            _log.warning("forced to stop")
            await self._close()
            return 128 + int(exc.args[0])
        return 0

    async def _find_obstacle(self) -> str:
        """Return why no traffic should be sent here, empty when nothing is in the way."""
        if self._proxy is None or self._pool is None or self._proxy.draining:
            return "draining"
        try:
            await self._pool.probe()
        except UpstreamError as error:
            return f"the upstream is not reachable: {error}"
        return ""

    async def _close(self) -> None:
        for task in self._background:
            task.cancel()
        if self._listener is not None:
            await self._listener.cut()
        if self._traffic is not None:
            await self._traffic.cleanup()
        if self._pool is not None:
            self._pool.close()
        if self._admin_runner is not None:
            await self._admin_runner.cleanup()
        self._admin.close()

    async def _listen(
        self, runner: web.BaseRunner, address: Listen, field: str, tls: Credentials | None
    ) -> str:
        """Open a listener and return its URL."""
        await runner.setup()
        if tls is None:
            site = web.TCPSite(runner, address.host, address.port)
        else:
            handshake_s = self._settings.timeouts.tls_handshake.seconds
            site = TlsSite(runner, address.host, address.port, tls.context, handshake_s)
        try:
            await site.start()
        except OSError as exc:
            # asyncio puts the address, which is named already, in front of the reason.
            reason = (exc.strerror or str(exc)).rpartition(": ")[2].lower()
            raise ConfigError([f"{field}: cannot listen on {address}: {reason}"]) from None
        except UnicodeError:
            reason = "not a host name"
            raise ConfigError([f"{field}: cannot listen on {address}: {reason}"]) from None
        host, port = runner.addresses[0][:2]
        scheme = "http" if tls is None else "https"
        return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


async def _measure_lag(meters: Meters) -> None:
    """Record how late timers fire: whatever holds the loop up holds tokens up."""
    while True:
        # Not loop.time(): uvloop's has a resolution of 1 ms.
        due_ns = monotonic_ns() + round(_LAG_PROBE_S * 10**9)
        await asyncio.sleep(_LAG_PROBE_S)
        meters.loop_lag(max(0, monotonic_ns() - due_ns))
