"""The demonstration from start to end: server, proxy and users in one process, one event loop.

Owns the order of things and the once-a-second look at `/metrics`. The proxy is the real one, used
through its public surface only (settings, two URLs), so that what is shown is what an installation
would show. The rule: whatever starts here is stopped here, also after Ctrl-C, and the summary is
printed in any case.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import signal
import sys
import time
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, TextIO

import aiohttp

from goodput_proxy.address import parse_listen
from goodput_proxy.app import App
from goodput_proxy.settings import ConfigError, Settings

from .engine import Profile
from .load import Load, UsersAt, Workload, ramp
from .outcome import Outcome, Sample, Spread
from .records import near_limit, recount
from .report import Report
from .server import SimulatedServer
from .shapes import MODEL
from .verdicts import Verdicts, fetch_verdicts

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterator

    Fetch = Callable[[], Awaitable[Verdicts]]

# Without an end, the users are as many after this time as they will be.
ENDLESS_RAMP_S = 60.0

# How long the last answers may take: far past saturation an answer waits for several seconds.
DRAIN_TIMEOUT_S = 30.0

# Clients and proxy read the clock at either end of a loopback connection, in one event loop. They
# see the same record within a few milliseconds, unless the machine is overloaded.
CLOCK_ERROR_NS = 25_000_000

# After the last answer the proxy has judged within moments; a longer wait would hide a bug.
SETTLE_ATTEMPTS = 50
SETTLE_INTERVAL_S = 0.02


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What can be chosen about a demonstration.

    Args:
        duration_s: How long users send requests; the last answers come after that. None: until
            SIGINT or SIGTERM.
        seed: Of everything that is random in what is sent and served.
        time_scale: Factor on the durations of the simulated server. Limits are not scaled.
        ttft_limit_ns: The SLO's limit for the time to the first token.
        itl_limit_ns: The SLO's limit for the mean time between tokens.
        server_only: Run the simulated server alone, at `listen`.
        listen: Address of the proxy, or of the server when it runs alone; port 0 takes a free one.
        admin_listen: Address of the proxy's admin listener.
        interval_s: Time between two rows.
        profile: The simulated accelerator.
        workload: What users ask for.
        users: Lowest and highest number of users; the batch limit should lie well between.
        users_at: A schedule of users to follow instead of the ramp.
    """

    duration_s: float | None = None
    seed: int = 0
    time_scale: float = 1.0
    ttft_limit_ns: int = 500_000_000
    itl_limit_ns: int = 100_000_000
    server_only: bool = False
    listen: str = "127.0.0.1:0"
    admin_listen: str = "127.0.0.1:0"
    interval_s: float = 1.0
    profile: Profile = field(default_factory=Profile)
    workload: Workload = field(default_factory=lambda: Workload(MODEL))
    users: tuple[int, int] = (4, 96)
    users_at: UsersAt | None = None


async def run_demo(options: DemoOptions, out: TextIO | None = None) -> int:
    """Run the demonstration, or the server alone; return the exit code.

    It is 1 when nothing was answered, or when the proxy counted otherwise than its clients and
    the difference of their clocks is no explanation.

    Raises:
        ConfigError: when an address cannot be listened on.
    """
    out = out or sys.stdout
    with _stop_signals() as stop:
        if options.server_only:
            await _serve(options, out, stop)
            return 0
        outcome = await play(options, out, stop)
    return 0 if outcome.recount.completed and outcome.explained else 1


async def play(options: DemoOptions, out: TextIO, stop: asyncio.Event) -> Outcome:
    """Run server, proxy and users until the time is over or `stop` is set."""
    report = Report(out, options.ttft_limit_ns, options.itl_limit_ns)
    async with AsyncExitStack() as stack:
        server = _server(options)
        upstream = await server.start()
        stack.push_async_callback(server.stop)
        app = App(proxy_settings(options, upstream))
        await app.start()
        stack.push_async_callback(app.stop)
        load = await stack.enter_async_context(Load(app.proxy_url, options.workload, options.seed))
        admin = await stack.enter_async_context(aiohttp.ClientSession())
        fetch = partial(fetch_verdicts, admin, app.admin_url)
        report.opening(app.proxy_url, app.admin_url)

        begin_s = time.monotonic()
        samples = await _watch(options, load, fetch, report, stop)
        if not stop.is_set():
            report.draining(load.in_flight)
            await _first(load.drain(), stop.wait(), timeout_s=DRAIN_TIMEOUT_S)
        await load.cut()
        seconds = time.monotonic() - begin_s
        verdicts = await _settled(fetch)
    limits = options.ttft_limit_ns, options.itl_limit_ns
    outcome = Outcome(
        samples=samples,
        records=load.records,
        verdicts=verdicts,
        recount=recount(load.records, *limits, seconds),
        near_limit=near_limit(load.records, *limits, CLOCK_ERROR_NS),
        clock_error_ns=CLOCK_ERROR_NS,
    )
    report.closing(outcome)
    return outcome


async def _watch(
    options: DemoOptions, load: Load, fetch: Fetch, report: Report, stop: asyncio.Event
) -> list[Sample]:
    """Let the users come, and take one sample per interval until the end."""
    duration_s = math.inf if options.duration_s is None else options.duration_s
    ramp_s = ENDLESS_RAMP_S if options.duration_s is None else options.duration_s
    samples: list[Sample] = []
    seen_records = 0
    before = await fetch()
    begin_s = before_s = time.monotonic()
    users = asyncio.create_task(load.follow(options.users_at or ramp(*options.users, ramp_s)))
    for tick in itertools.count(1):
        due_s = min(tick * options.interval_s, duration_s)
        await _first(stop.wait(), timeout_s=begin_s + due_s - time.monotonic())
        now = await fetch()
        now_s = time.monotonic()
        records = load.records[seen_records:]
        seen_records += len(records)
        sample = Sample(
            at_s=now_s - begin_s,
            seconds=now_s - before_s,
            users=load.users,
            verdicts=now.since(before),
            ttft=Spread.of(record.ttft_ns for record in records),
            itl=Spread.of(record.itl_ns for record in records),
        )
        samples.append(sample)
        report.row(sample)
        before, before_s = now, now_s
        if due_s >= duration_s or stop.is_set():
            break
    users.cancel()
    return samples


async def _settled(fetch: Fetch) -> Verdicts:
    """Return the proxy's counts once it has nothing in flight any more."""
    for _ in range(SETTLE_ATTEMPTS):
        verdicts = await fetch()
        if not verdicts.in_flight:
            break
        await asyncio.sleep(SETTLE_INTERVAL_S)
    return verdicts


async def _serve(options: DemoOptions, out: TextIO, stop: asyncio.Event) -> None:
    """Run the simulated server alone until it is told to stop."""
    server = _server(options)
    address = parse_listen(options.listen)
    try:
        url = await server.start(address.host, address.port)
    except OSError as error:
        await server.stop()
        raise ConfigError([f"listen: cannot listen on {address}: {error.strerror}"]) from None
    print(f"simulated inference server on {url}/v1, model {MODEL}", file=out, flush=True)
    await stop.wait()
    await server.stop()
    print(f"{server.finished} answers finished, {server.aborted} aborted", file=out, flush=True)


def _server(options: DemoOptions) -> SimulatedServer:
    return SimulatedServer(replace(options.profile, time_scale=options.time_scale), options.seed)


def proxy_settings(options: DemoOptions, upstream: str) -> Settings:
    """Return the proxy's settings; limits and classes of the environment do not apply here."""
    return Settings.model_validate(
        {
            "upstream": upstream,
            "listen": options.listen,
            "admin_listen": options.admin_listen,
            "config": None,
            "slo": {
                "ttft": f"{options.ttft_limit_ns}ns",
                "itl": f"{options.itl_limit_ns}ns",
                "stall": None,
                "e2e": None,
            },
            "slo_classes": [],
        }
    )


async def _first(*waits: Coroutine[object, object, object], timeout_s: float) -> None:
    """Wait until one of them is done or the time is over; drop the others."""
    tasks = [asyncio.create_task(wait) for wait in waits]
    await asyncio.wait(tasks, timeout=max(0.0, timeout_s), return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()


@contextmanager
def _stop_signals() -> Iterator[asyncio.Event]:
    """Return an event that SIGINT and SIGTERM set for as long as the block lasts."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    signals = (signal.SIGINT, signal.SIGTERM)
    for number in signals:
        loop.add_signal_handler(number, stop.set)
    try:
        yield stop
    finally:
        for number in signals:
            loop.remove_signal_handler(number)
