"""A real Prometheus in front of running proxies."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import aiohttp
import yaml

from bench.process import free_port
from tests.conftest import require_program
from tests.deploy.promtool import RULES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

Labels = frozenset[tuple[str, str]]

# What is waited for takes one or two scrapes; a busy machine may need many more.
INTERVAL_S = 0.1
ATTEMPTS = 200


@dataclass(frozen=True)
class Prometheus:
    """The HTTP API of a running Prometheus."""

    url: str
    client: aiohttp.ClientSession

    async def get(self, path: str, **parameters: str) -> Any:
        """Return the `data` of an answer that must be a success."""
        async with self.client.get(f"/api/v1/{path}", params=parameters) as response:
            answer = await response.json()
        assert answer["status"] == "success", (parameters, answer)
        return answer["data"]

    async def ask(self, expr: str) -> dict[Labels, float]:
        """Return the value of each series of an instant query; one that is NaN is left out."""
        data = await self.get("query", query=expr)
        if data["resultType"] == "scalar":
            return {frozenset(): float(data["result"][1])}
        values = {
            frozenset(series["metric"].items()): float(series["value"][1])
            for series in data["result"]
        }
        return {labels: value for labels, value in values.items() if not math.isnan(value)}

    async def course(self, expr: str, minutes: float = 5) -> dict[Labels, float]:
        """Return the newest value of each series of a range query over the last minutes."""
        end = time.time()
        data = await self.get(
            "query_range", query=expr, start=f"{end - minutes * 60}", end=f"{end}", step="1"
        )
        return {
            frozenset(series["metric"].items()): float(series["values"][-1][1])
            for series in data["result"]
        }

    async def value(self, expr: str) -> float:
        """Return the only value of a query, NaN when there is none."""
        values = await self.ask(expr)
        assert len(values) < 2, (expr, values)
        return next(iter(values.values()), math.nan)

    async def rules(self) -> list[dict[str, Any]]:
        """Return every rule with what became of it."""
        groups = (await self.get("rules"))["groups"]
        return [rule for group in groups for rule in group["rules"]]

    async def until(self, holds: Callable[[], Awaitable[object]], what: str) -> None:
        """Wait for something that scrapes and evaluations will bring."""
        for _ in range(ATTEMPTS):
            if await holds():
                return
            await asyncio.sleep(INTERVAL_S)
        raise AssertionError(f"{what}: not within {ATTEMPTS} attempts")


@asynccontextmanager
async def scraping(
    directory: Path, admin_port: int, *targets: dict[str, str]
) -> AsyncIterator[Prometheus]:
    """Run a Prometheus that scrapes a proxy once a second and evaluates the project's rules.

    Args:
        directory: for its data.
        admin_port: of the proxy.
        targets: labels under which it is scraped; one target each.
    """
    scrapes = [
        {
            "job_name": labels["job"],
            "static_configs": [{"targets": [f"127.0.0.1:{admin_port}"], "labels": labels}],
        }
        for labels in targets
    ]
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(RULES)],
        "scrape_configs": scrapes,
    }
    async with running(directory, config) as prometheus:
        yield prometheus


@asynccontextmanager
async def running(
    directory: Path, config: dict[str, Any], *flags: str
) -> AsyncIterator[Prometheus]:
    """Run a Prometheus with a configuration, and with what `directory` holds in `data`."""
    program = require_program("prometheus")
    port = free_port()
    path = directory / "prometheus.yaml"
    path.write_text(yaml.safe_dump(config))
    log = directory / "prometheus.log"
    with log.open("wb") as stderr:
        process = await asyncio.create_subprocess_exec(
            program,
            f"--config.file={path}",
            f"--storage.tsdb.path={directory / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--log.level=warn",
            *flags,
            stderr=stderr,
            stdout=asyncio.subprocess.DEVNULL,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        async with aiohttp.ClientSession(url) as client:
            await _until_ready(client, process, log)
            yield Prometheus(url, client)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _until_ready(
    client: aiohttp.ClientSession, process: asyncio.subprocess.Process, log: Path
) -> None:
    for _ in range(ATTEMPTS):
        if process.returncode is not None:
            break
        with contextlib.suppress(aiohttp.ClientConnectionError):
            async with client.get("/-/ready") as response:
                if response.status == 200:
                    return
        await asyncio.sleep(INTERVAL_S)
    raise AssertionError(await asyncio.to_thread(log.read_text) or "Prometheus is not ready")
