"""The demonstration from start to end: which run it is, the order of things, and the exit code.

A run is one of three: a scenario with one row per interval (`play`), a sweep over levels of load
(`climb`), or the simulated server alone. The rule: a summary is printed in any case, also after
Ctrl-C.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import signal
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

from goodput_proxy.address import parse_listen
from goodput_proxy.sites import cannot_listen

from .export import Export
from .load import UsersAt, ramp
from .outcome import Climb, Outcome, Sample
from .report import Report
from .scenarios import RAMP, Scenario
from .server import SimulatedServer
from .shapes import MODEL
from .stage import Stage, Stretch, staged
from .terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

# Of a level of a sweep this much is left out: users have just come, and all at once.
WARM_UP_FRACTION = 1 / 3


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What can be chosen about a demonstration.

    Args:
        scenario: The story.
        duration_s: How long users send requests; the last answers come after that. None: until
            SIGINT or SIGTERM, or in a sweep as long as the story says.
        seed: Of everything that is random in what is sent and served.
        sweep: Double the users from level to level instead.
        out: The folder for what is to be kept.
        server_only: Run the simulated server alone, at `listen`.
        listen: Address of the proxy, or of the server when it runs alone; port 0 takes a free one.
        admin_listen: Address of the proxy's admin listener.
        users_at: A schedule of users to follow instead of the scenario's.
    """

    scenario: Scenario = RAMP
    duration_s: float | None = None
    seed: int = 0
    sweep: bool = False
    out: Path | None = None
    server_only: bool = False
    listen: str = "127.0.0.1:0"
    admin_listen: str = "127.0.0.1:0"
    users_at: UsersAt | None = None

    @property
    def levels(self) -> list[int]:
        """How many users the levels of a sweep have: up to twice of what the server can hold."""
        most = 2 * (self.scenario.profile.max_batch - self.scenario.profile.reserved)
        return [1 << power for power in range((most - 1).bit_length() + 1)]

    @property
    def level_s(self) -> float:
        """How long a level of a sweep takes."""
        if self.duration_s is None:
            return self.scenario.level_s
        return self.duration_s / len(self.levels)


async def run_demo(options: DemoOptions, out: TextIO | None = None) -> int:
    """Run the demonstration, or the server alone; return the exit code.

    It is 1 when nothing was answered, or when the proxy counted otherwise than its clients and
    the difference of their clocks is no explanation.

    Raises:
        ConfigError: when an address cannot be listened on, or nothing can be kept at `out`.
    """
    out = out or sys.stdout
    with _stop_signals() as stop:
        if options.server_only:
            await _serve(options, out, stop)
            return 0
        run = climb if options.sweep else play
        totals = (await run(options, out, stop)).totals
    return 0 if totals.recount.completed and totals.explained else 1


async def play(options: DemoOptions, out: TextIO, stop: asyncio.Event) -> Outcome:
    """Let the users of a scenario come until the time is over or `stop` is set."""
    terminal = Terminal(out)
    report = Report(terminal, options.scenario)
    export = Export.prepare(options.out, terminal)
    async with _staged(options, stop, terminal) as stage:
        report.opening(stage.proxy_url, stage.admin_url)
        samples, settled = await _watch(options, stage, report)
        if not stage.stopped:
            report.draining(stage.load.in_flight)
        await stage.drain()
        totals = await stage.total(options.scenario)
    outcome = Outcome(samples, totals, settled)
    report.closing(outcome)
    export.keep_run(options.scenario, options.seed, outcome)
    return outcome


async def climb(options: DemoOptions, out: TextIO, stop: asyncio.Event) -> Climb:
    """Double the users from level to level, each for the same time, and look for the knee."""
    terminal = Terminal(out)
    report = Report(terminal, options.scenario)
    export = Export.prepare(options.out, terminal)
    levels: list[Sample] = []
    async with _staged(options, stop, terminal) as stage:
        report.opening(stage.proxy_url, stage.admin_url)
        report.climbing(options.levels, options.level_s)
        for users in options.levels:
            level = await _measure_level(stage, users, options.level_s)
            if stage.stopped:
                break  # what there is of it has not settled
            levels.append(level)
            report.level(level)
        if not stage.stopped:
            report.draining(stage.load.in_flight)
        await stage.drain()
        totals = await stage.total(options.scenario)
        bands = await stage.fetch_bands()
    sweep = Climb(levels, totals, bands)
    report.summit(sweep)
    export.keep_sweep(options.scenario, options.seed, sweep)
    return sweep


async def _measure_level(stage: Stage, users: int, level_s: float) -> Sample:
    begin_s = time.monotonic()

    def progress() -> str:
        return f"{users} at once: {time.monotonic() - begin_s:.0f} of {level_s:.0f} s"

    stage.load.resize(users)
    await stage.wait(begin_s + level_s * WARM_UP_FRACTION, progress)
    stretch = await Stretch.begin(stage)
    await stage.wait(begin_s + level_s, progress)
    level, _ = await stretch.end()
    return level


async def _watch(
    options: DemoOptions, stage: Stage, report: Report
) -> tuple[list[Sample], Sample | None]:
    """Take one sample per interval until the end, and one of all that came after the warm-up."""
    scenario = options.scenario
    duration_s = math.inf if options.duration_s is None else options.duration_s
    # Without an end, the users are as many after the story's time as they will be.
    rise_s = scenario.duration_s if options.duration_s is None else options.duration_s
    samples: list[Sample] = []
    stretch = await Stretch.begin(stage)
    settling: Stretch | None = None
    begin_s = time.monotonic()
    schedule = options.users_at or ramp(*scenario.users, rise_s)
    users = asyncio.create_task(stage.load.follow(schedule))
    for tick in itertools.count(1):
        due_s = min(tick * scenario.interval_s, duration_s)

        def progress(due_s: float = due_s) -> str:
            elapsed_s = time.monotonic() - begin_s
            waiting = f"{stage.load.in_flight} requests in flight"
            return f"{elapsed_s:.0f}s  {waiting}, the next row comes at {due_s:.0f}s"

        await stage.wait(begin_s + due_s, progress)
        sample, stretch = await stretch.end()
        samples.append(sample)
        report.row(sample)
        if settling is None and scenario.warm_up_s is not None and due_s >= scenario.warm_up_s:
            settling = stretch
        if due_s >= duration_s or stage.stopped:
            break
    users.cancel()
    if settling is None or settling is stretch:
        return samples, None
    settled, _ = await settling.end()
    return samples, settled


async def _serve(options: DemoOptions, out: TextIO, stop: asyncio.Event) -> None:
    """Run the simulated server alone until it is told to stop."""
    scenario = options.scenario
    server = SimulatedServer(scenario.profile, options.seed, scenario.faults)
    address = parse_listen(options.listen)
    try:
        url = await server.start(address.host, address.port)
    except OSError as error:
        await server.stop()
        raise cannot_listen(address, "listen", error) from None
    print(f"simulated inference server on {url}/v1, model {MODEL}", file=out, flush=True)
    await stop.wait()
    await server.stop()
    print(f"{server.finished} answers finished, {server.aborted} aborted", file=out, flush=True)


def _staged(
    options: DemoOptions, stop: asyncio.Event, terminal: Terminal
) -> AbstractAsyncContextManager[Stage]:
    return staged(
        options.scenario,
        seed=options.seed,
        listen=options.listen,
        admin_listen=options.admin_listen,
        stop=stop,
        terminal=terminal,
    )


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
