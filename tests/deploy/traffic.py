"""Demonstration traffic through a proxy that Prometheus scrapes, of which every sum is known.

The simulated server of the demonstration answers; two kinds of users ask. Requests of class
`interactive` always meet their limits, those of `strict` never can. Then the server goes away, and
some more fail; as nobody took their bodies, their model is not known and they are of class
`default`. So what every ratio must be is known beforehand, whatever the machine's speed.
"""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from goodput_proxy.demo.engine import Profile
from goodput_proxy.demo.load import Load
from goodput_proxy.demo.server import SimulatedServer
from goodput_proxy.demo.workload import Workload
from tests.deploy.prometheus import Prometheus, scraping
from tests.integration.process import serving
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from goodput_proxy.demo.records import ClientRecord

GOOD_MODEL, SLOW_MODEL = "demo-model", "strict"
# Both models are pinned by name, so that their counters are there, at zero, from the first scrape.
CONFIG = f"""
slo: {{objective: 0.95}}
slo_classes:
  - name: interactive
    match: {{model: {GOOD_MODEL}}}
    ttft: 60s
    itl: 10s
    stall: 60s
    e2e: 120s
    objective: 0.9
  - name: strict
    match: {{model: {SLOW_MODEL}}}
    ttft: 1us
    objective: 0.95
"""
FAILURES = 2
WORKERS = 2
FAST = Profile(step_base_ns=5_000_000, step_per_sequence_ns=500_000)
# As a Pod of Kubernetes is found, and as one without; both are the same proxy.
IN_CLUSTER = {"job": "vllm", "namespace": "inference", "pod": "vllm-0"}
ON_ITS_OWN = {"job": "bare"}
ENOUGH = 12  # requests of each kind: below ten in an hour alerts are silent


@dataclass(frozen=True)
class Ran:
    """What the load has left behind."""

    prometheus: Prometheus
    good: list[ClientRecord]
    slow: list[ClientRecord]

    @property
    def judged(self) -> int:
        """Requests of the goodput ratio."""
        return len(self.good) + len(self.slow) + FAILURES

    @property
    def bad(self) -> int:
        """Those of them that were not good."""
        return len(self.slow) + FAILURES

    async def settled(self) -> bool:
        """Return whether the recorded rates are of all requests, for both targets.

        The budget is recorded last: it may still be missing when the rates are there.
        """
        rates = "sum by (job) (namespace_job_slo:goodput_requests_{}:rate5m)"
        shares = await self.prometheus.ask(f"{rates.format('bad')} / {rates.format('judged')}")
        budget = "count by (job) (namespace_job_slo:goodput_error_budget_left:ratio_rate30d)"
        budgets = await self.prometheus.ask(budget)
        expected = pytest.approx(self.bad / self.judged)
        return list(shares.values()) == [expected, expected] and len(budgets) == len(shares)


@asynccontextmanager
async def traffic(directory: Path) -> AsyncIterator[Ran]:
    """Run everything once, and wait until the rules have seen all of it."""
    config = directory / "goodput.yaml"
    config.write_text(CONFIG)
    async with AsyncExitStack() as stack:
        server = SimulatedServer(FAST)
        upstream = await server.start()
        stack.push_async_callback(server.stop)
        proxy = await stack.enter_async_context(
            serving(upstream, f"--config={config}", f"--workers={WORKERS}")
        )
        prometheus = await stack.enter_async_context(
            scraping(directory, proxy.admin_port, IN_CLUSTER, ON_ITS_OWN)
        )
        zero = "count(count by (job) (goodput_requests_total)) == 2"
        await prometheus.until(lambda: prometheus.ask(zero), "counters at zero, of both targets")

        url = f"http://127.0.0.1:{proxy.port}"
        good = await _load(url, GOOD_MODEL, users=4)
        slow = await _load(url, SLOW_MODEL, users=2)
        await _others(url)
        await server.stop()
        await _fail(url)

        ran = Ran(prometheus, good, slow)
        await prometheus.until(ran.settled, "the share of bad requests in the recorded rates")
        yield ran


async def _load(url: str, model: str, users: int) -> list[ClientRecord]:
    workload = Workload(model, prompt_tokens=(20, 60), output_tokens=(6, 10))
    async with Load(url, workload) as load:
        load.resize(users)
        await eventually(lambda: len(load.records) >= ENOUGH, f"{ENOUGH} answers")
        await load.drain()
    assert all(record.ok for record in load.records)
    return load.records


async def _others(url: str) -> None:
    """Send what is outside the ratio: no inference, a client's mistake, a client that leaves."""
    async with aiohttp.ClientSession(url) as client:
        async with client.get("/v1/models") as answer:
            assert answer.status == 200
        async with client.post("/v1/unheard-of", json={}) as answer:
            assert answer.status == 404
        refused: dict[str, Any] = {"model": GOOD_MODEL, "messages": [], "stream": True}
        async with client.post("/v1/chat/completions", json=refused) as answer:
            assert answer.status == 400
        long = {
            **refused,
            "messages": [{"role": "user", "content": "hello"}],
            "max_tokens": 10_000,
        }
        async with client.post("/v1/chat/completions", json=long) as answer:
            await answer.content.readany()
            answer.close()


async def _fail(url: str) -> None:
    body = {"model": GOOD_MODEL, "messages": [{"role": "user", "content": "hello"}]}
    async with aiohttp.ClientSession(url) as client:
        for _ in range(FAILURES):
            async with client.post("/v1/chat/completions", json=body) as answer:
                assert answer.status in {502, 503}
