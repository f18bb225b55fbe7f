"""The whole demonstration, scaled down: what it claims is what it shows, and the counts agree.

The times are those of a server ten times as fast with steps of 25 ms and short answers, so that a
few seconds hold several hundred requests and the machine is idle most of the time.
"""

from __future__ import annotations

import asyncio
import io
import os
import signal
from dataclasses import replace
from typing import TYPE_CHECKING

import aiohttp
import pytest

from goodput_proxy.demo.engine import Profile
from goodput_proxy.demo.records import Limits
from goodput_proxy.demo.run import DemoOptions, play, run_demo
from goodput_proxy.demo.scenarios import RAMP
from goodput_proxy.demo.workload import Workload
from goodput_proxy.settings import ConfigError

if TYPE_CHECKING:
    from goodput_proxy.demo.outcome import Sample

MS = 1_000_000
# What passes in real time is played again when another program has taken the processor from it.
ATTEMPTS = 3
BATCH = 16
COARSE = Profile(
    max_batch=BATCH, step_base_ns=60 * MS, step_per_sequence_ns=12 * MS, time_scale=0.1
)
SCENARIO = replace(
    RAMP,
    interval_s=0.25,
    profile=COARSE,
    limits=Limits(250 * MS, 100 * MS),
    workload=Workload("m", prompt_tokens=(50, 150), output_tokens=(6, 10)),
)


async def test_goodput_collapses_while_throughput_holds() -> None:
    """At low load all is well; past saturation throughput stays, goodput goes, all is HTTP 200."""
    options = DemoOptions(replace(SCENARIO, users=(3, 5 * BATCH)), duration_s=6.0, seed=11)
    for _ in range(ATTEMPTS):
        out = io.StringIO()
        outcome = await play(options, out, asyncio.Event())
        if outcome.throughput.final_rps >= 0.9 * outcome.throughput.peak_rps:
            break

    assert {record.status for record in outcome.totals.records} == {200}
    calm = [sample for sample in outcome.samples if sample.users <= BATCH // 2]
    assert share_of_good(calm) >= 0.95
    assert outcome.throughput.final_rps >= 0.9 * outcome.throughput.peak_rps
    assert outcome.goodput.final_rps < 0.2 * outcome.goodput.peak_rps
    assert outcome.settled is None
    assert "answers was HTTP 200." in out.getvalue()
    assert "slow:ttft" in out.getvalue()


async def test_clients_recount_what_the_proxy_counted() -> None:
    """With no request near a limit the textbook formula gives the counts of /metrics, exactly.

    First a few users; then, after a pause, four times as many as the batch holds, all with answers
    of the same length. The batch empties in waves, so that a TTFT is either that of a free slot
    (two steps) or that of at least one whole answer (48 steps), and the limit lies between.
    """
    batch = 8

    def users_at(elapsed_s: float) -> int:
        if elapsed_s < 1.0:
            return batch // 4
        return 0 if elapsed_s < 1.6 else 4 * batch

    scenario = replace(
        SCENARIO,
        limits=Limits(600 * MS, 100 * MS),
        profile=replace(COARSE, max_batch=batch, step_per_sequence_ns=24 * MS),
        workload=Workload("m", prompt_tokens=(50, 50), output_tokens=(48, 48)),
    )
    options = DemoOptions(scenario, duration_s=2.4, seed=11, users_at=users_at)
    totals = (await play(options, io.StringIO(), asyncio.Event())).totals

    assert totals.near_limit == 0
    counted, recounted = totals.verdicts, totals.recount
    assert counted.good == recounted.good > batch
    assert counted.slow == recounted.slow == 3 * batch
    assert counted.failed == recounted.failed == 0
    assert counted.completed == len(totals.records)


def share_of_good(samples: list[Sample]) -> float:
    return sum(sample.verdicts.good for sample in samples) / sum(
        sample.verdicts.completed for sample in samples
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_signal_ends_an_endless_run_with_its_summary(number: signal.Signals) -> None:
    """Whoever stops the demonstration sees at once what it has measured so far."""
    out = io.StringIO()
    options = DemoOptions(replace(SCENARIO, users=(2, 2)))
    running = asyncio.create_task(run_demo(options, out))
    async with asyncio.timeout(5):
        while "100%" not in out.getvalue():  # noqa: ASYNC110 -- output has no event
            await asyncio.sleep(0.01)
        os.kill(os.getpid(), number)
        assert await running == 0
    assert "answers was HTTP 200." in out.getvalue()
    assert "recount by clients" in out.getvalue()


async def test_server_alone() -> None:
    """`server_only` serves the simulated model at the chosen address until it is told to stop."""
    out = io.StringIO()
    running = asyncio.create_task(run_demo(DemoOptions(SCENARIO, server_only=True), out))
    async with asyncio.timeout(5):
        while not out.getvalue():  # noqa: ASYNC110 -- output has no event
            await asyncio.sleep(0.01)
        url = out.getvalue().split()[4].rstrip(",")
        body = {"prompt": "one two", "max_tokens": 2}
        async with (
            aiohttp.ClientSession() as client,
            client.post(f"{url}/completions", json=body) as answer,
        ):
            assert (await answer.json())["usage"]["completion_tokens"] == 2
        os.kill(os.getpid(), signal.SIGTERM)
        assert await running == 0
    assert "1 answers finished, 0 aborted" in out.getvalue()


@pytest.mark.parametrize("server_only", [True, False])
async def test_address_in_use_leaves_nothing_open(*, server_only: bool) -> None:
    """A port that is taken is an error that names the field; nothing runs on behind it."""
    async with await asyncio.start_server(lambda *_: None, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        options = DemoOptions(listen=f"{host}:{port}", server_only=server_only)
        expected = r"^listen: cannot listen on .* already in use; choose another with --listen$"
        with pytest.raises(ConfigError, match=expected):
            await run_demo(options, io.StringIO())
