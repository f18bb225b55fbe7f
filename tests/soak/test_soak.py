"""The soak, for some seconds; `make soak` runs it for ten minutes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.integration.fake_upstream import FakeUpstream
from tests.integration.harness import RunningProxy
from tests.soak.play import Soak, read_counts, settle
from tests.soak.report import soak
from tests.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.timeout(120)
async def test_counts_are_those_of_the_script_and_nothing_stays_behind(tmp_path: Path) -> None:
    """Exact counts, memory within 10 % of where it was, and not one descriptor more."""
    report = await soak(20, seed=1, folder=tmp_path)
    assert report.problems == []
    assert report.requests > 500
    assert len(report.counted) > 12  # of all kinds


async def test_no_task_stays_behind() -> None:
    """In one process with the test: what runs afterwards is what ran before."""
    upstream = FakeUpstream()
    await upstream.start()
    proxy = await RunningProxy.start(
        upstream,
        slo={"ttft": "60s", "itl": "60s"},
        slo_classes=[{"name": "i", "match": {"headers": {"x-tier": "impossible"}}, "ttft": "1ns"}],
        timeouts={"idle": "3s", "upstream_keepalive": "1s"},
    )
    await settle(proxy.admin_port)
    tasks = len(asyncio.all_tasks())
    run = Soak(upstream, proxy.port, seed=2)
    await run.run(8)
    assert read_counts(await settle(proxy.admin_port)) == run.counts
    await eventually(lambda: len(asyncio.all_tasks()) <= tasks, "no task more")
    await proxy.stop()
    await upstream.stop()
