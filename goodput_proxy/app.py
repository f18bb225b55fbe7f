"""The composition root and the life of the process: start, serve, drain, stop.

Requests are taken by this process (`traffic`) or by workers of its own (`supervisor`); metrics,
admin port, log and reloads are here in either case.

Stopping is ordered, and each step has its reason:
  1. `/readyz` fails at once, so that no new traffic is sent here.
  2. The data path drains; in which order stands in `traffic`.
  3. The admin port is closed last: the final counts can be scraped until then.
"""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
from typing import TYPE_CHECKING

import structlog
from aiohttp import web

from .admin import Admin
from .certificates import TlsError
from .descriptors import raise_limit
from .live.routes import LiveView
from .log import configure_logging
from .metrics import Metrics
from .policy import build_policy
from .reload import Reloader
from .requestlog import RequestLog
from .settings import ConfigError
from .sites import open_site
from .supervisor import Supervisor
from .tls import keep_fresh, load_credentials
from .traffic import Traffic

if TYPE_CHECKING:
    from collections.abc import Callable

    from .settings import Settings

_log = structlog.get_logger()

# The interpreter's default of 5 ms is how long a scrape may hold a token up.
_SWITCH_INTERVAL_S = 0.0005


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
        self.traffic: Traffic | Supervisor | None = None
        self._admin_runner: web.AppRunner | None = None
        self.proxy_url = ""
        self.admin_url = ""

    async def start(self) -> None:
        """Open both listeners.

        Raises:
            ConfigError: when an address cannot be listened on, or a certificate is unusable;
                nothing is left open then.
        """
        settings = self._settings
        try:
            credentials = load_credentials(settings, self.metrics)
        except TlsError as error:
            raise ConfigError([str(error)]) from None
        take = Traffic if settings.workers == 1 else Supervisor
        self.traffic = take(settings, self.metrics, credentials)
        self.apply(settings)
        self._admin_runner = web.AppRunner(
            self._admin.application(), access_log=None, shutdown_timeout=1.0
        )
        try:
            self.admin_url = await open_site(
                self._admin_runner,
                settings.admin_listen,
                "admin_listen",
                credentials.admin_listen,
                handshake_s=settings.timeouts.tls_handshake.seconds,
            )
            self.proxy_url = await self.traffic.open()
        except ConfigError:
            await self._close()
            raise
        self._live.proxy_url = self.proxy_url
        self._background.append(asyncio.create_task(keep_fresh(credentials)))
        if self._reloader is not None:
            self._background.append(asyncio.create_task(self._reloader.run()))
        _log.info(
            "listening",
            proxy_url=self.proxy_url,
            admin_url=self.admin_url,
            upstream=str(settings.upstream),
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
        if self.traffic is not None:
            log = RequestLog(settings.log)
            observers = (self._live.observe, log.write if log.wanted else None)
            self.traffic.apply(settings, tuple(filter(None, observers)))

    async def stop(self) -> None:
        """Drain and close everything, in the order that this file's head gives."""
        if self.traffic is not None:
            await self.traffic.drain()
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
        if self.traffic is None or self.traffic.draining:
            return "draining"
        return await self.traffic.find_obstacle()

    async def _close(self) -> None:
        for task in self._background:
            task.cancel()
        if self.traffic is not None:
            await self.traffic.close()
        if self._admin_runner is not None:
            await self._admin_runner.cleanup()
        self._admin.close()
