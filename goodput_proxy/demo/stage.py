"""What every run of the demonstration needs: server, proxy and users, and how one waits for them.

All of it lives in one process and one event loop. The proxy is the real one, used through its
public surface only (settings, two URLs), so that what is shown is what an installation would show.
The rule: whatever is started here is stopped here, whatever happens in between.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

import aiohttp

from goodput_proxy.app import App
from goodput_proxy.settings import Settings

from .faults import Fault
from .knee import fetch_bands
from .load import Load
from .outcome import Sample, Totals
from .records import near_limit, recount
from .server import SimulatedServer
from .verdicts import Verdicts, fetch_verdicts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine

    from .knee import Band
    from .scenarios import Scenario
    from .terminal import Terminal

# How long the last answers may take: far past saturation an answer waits for several seconds.
DRAIN_TIMEOUT_S = 40.0

# Clients and proxy read the clock at either end of a loopback connection, in one event loop. They
# see the same record within a few milliseconds, unless the machine is overloaded.
CLOCK_ERROR_NS = 25_000_000

# After the last answer the proxy has judged within moments; a longer wait would hide a bug.
SETTLE_ATTEMPTS = 50
SETTLE_INTERVAL_S = 0.02

# Whoever waits for longer than this is told how far things are, again and again.
PROGRESS_INTERVAL_S = 1.0


class Stage:
    """A server, the proxy before it, and users, none of whom has come yet."""

    def __init__(
        self,
        server: SimulatedServer,
        app: App,
        load: Load,
        admin: aiohttp.ClientSession,
        *,
        stop: asyncio.Event,
        terminal: Terminal,
    ) -> None:
        self.server = server
        self.load = load
        self.proxy_url = app.proxy_url
        self.admin_url = app.admin_url
        self.fetch: Callable[[], Awaitable[Verdicts]] = partial(
            fetch_verdicts, admin, app.admin_url
        )
        self.fetch_bands: Callable[[], Awaitable[list[Band]]] = partial(
            fetch_bands, admin, app.admin_url
        )
        self.begin_s = time.monotonic()
        self._stop = stop
        self._terminal = terminal

    @property
    def stopped(self) -> bool:
        """Whether the run is to end before its time."""
        return self._stop.is_set()

    async def wait(self, until_s: float, progress: Callable[[], str]) -> None:
        """Wait for a moment of the monotonic clock, or for the stop; say how far things are."""
        await self._first(self._stop.wait(), until_s=until_s, progress=progress)

    async def drain(self) -> None:
        """Let nobody come any more, and wait for the last answers."""
        if not self.stopped:
            await self._first(
                self.load.drain(),
                self._stop.wait(),
                until_s=time.monotonic() + DRAIN_TIMEOUT_S,
                progress=lambda: f"{self.load.in_flight} still in flight",
            )
        await self.load.cut()

    async def total(self, scenario: Scenario) -> Totals:
        """Return the totals of the run, once the proxy has nothing in flight any more."""
        seconds = time.monotonic() - self.begin_s
        for _ in range(SETTLE_ATTEMPTS):
            verdicts = await self.fetch()
            if not verdicts.in_flight:
                break
            await asyncio.sleep(SETTLE_INTERVAL_S)
        records, done = self.load.records, self.server.faults
        return Totals(
            records=records,
            verdicts=verdicts,
            recount=recount(records, scenario.limits, seconds),
            near_limit=near_limit(records, scenario.limits, CLOCK_ERROR_NS),
            clock_error_ns=CLOCK_ERROR_NS,
            faults={fault.value: done[fault] for fault in Fault if done[fault]},
        )

    async def _first(
        self,
        *waits: Coroutine[object, object, object],
        until_s: float,
        progress: Callable[[], str],
    ) -> None:
        """Wait until one of them is done or the time is over; drop the others."""
        tasks = [asyncio.create_task(wait) for wait in waits]
        tell_s = time.monotonic() + PROGRESS_INTERVAL_S
        done: set[asyncio.Task[object]] = set()
        while not done and (now_s := time.monotonic()) < until_s:
            if now_s >= tell_s:
                self._terminal.progress(progress())
                tell_s = now_s + PROGRESS_INTERVAL_S
            pause_s = min(until_s, tell_s) - now_s
            done, _ = await asyncio.wait(
                tasks, timeout=pause_s, return_when=asyncio.FIRST_COMPLETED
            )
        for task in tasks:
            task.cancel()


class Stretch:
    """A stretch of a run, from where it begins until now."""

    def __init__(self, stage: Stage, verdicts: Verdicts) -> None:
        self._stage = stage
        self._verdicts = verdicts
        self._begin_s = time.monotonic()
        self._records = len(stage.load.records)

    @classmethod
    async def begin(cls, stage: Stage) -> Stretch:
        """Begin one now."""
        return cls(stage, await stage.fetch())

    async def end(self) -> tuple[Sample, Stretch]:
        """Return what has happened in it, and the stretch that begins where it ends."""
        stage = self._stage
        after = await Stretch.begin(stage)
        sample = Sample.of(
            at_s=after._begin_s - stage.begin_s,
            seconds=after._begin_s - self._begin_s,
            users=stage.load.users,
            verdicts=after._verdicts.since(self._verdicts),
            records=stage.load.records[self._records : after._records],
        )
        return sample, after


@asynccontextmanager
async def staged(
    scenario: Scenario,
    *,
    seed: int,
    listen: str,
    admin_listen: str,
    stop: asyncio.Event,
    terminal: Terminal,
) -> AsyncIterator[Stage]:
    """Start server, proxy and clients, and stop them at the end.

    Raises:
        ConfigError: when an address cannot be listened on.
    """
    server = SimulatedServer(scenario.profile, seed, scenario.faults)
    try:
        app = App(proxy_settings(scenario, await server.start(), listen, admin_listen))
        await app.start()
        try:
            load = Load(app.proxy_url, scenario.workload, seed)
            async with load, aiohttp.ClientSession() as admin:
                yield Stage(server, app, load, admin, stop=stop, terminal=terminal)
        finally:
            await app.stop()
    finally:
        await server.stop()


def proxy_settings(scenario: Scenario, upstream: str, listen: str, admin_listen: str) -> Settings:
    """Return the proxy's settings; limits and classes of the environment do not apply here."""
    limits = scenario.limits
    return Settings.model_validate(
        {
            "upstream": upstream,
            "listen": listen,
            "admin_listen": admin_listen,
            "config": None,
            "slo": {
                "ttft": f"{limits.ttft_ns}ns",
                "itl": f"{limits.itl_ns}ns",
                "stall": None if limits.stall_ns is None else f"{limits.stall_ns}ns",
                "e2e": None,
            },
            "slo_classes": [],
        }
    )
