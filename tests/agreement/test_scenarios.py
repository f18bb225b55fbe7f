"""The scenarios of the comparison, played to the proxy alone: its side of the table holds."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import aiohttp
import pytest
from aiohttp.test_utils import TestServer

from goodput_proxy.app import App
from goodput_proxy.settings import Settings
from tests.agreement.scenarios import ITL_LIMIT_MS, SCENARIOS, TTFT_LIMIT_MS, Scenario
from tests.agreement.upstream import application
from tests.integration.harness import scrape
from tests.waiting import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def proxy() -> AsyncIterator[App]:
    """Return a proxy in front of the scripted server."""
    async with TestServer(application()) as server:
        limits = {"ttft": f"{TTFT_LIMIT_MS:g}ms", "itl": f"{ITL_LIMIT_MS:g}ms"}
        settings = {
            "upstream": str(server.make_url("")).rstrip("/"),
            "listen": "127.0.0.1:0",
            "admin_listen": "127.0.0.1:0",
            "slo": limits,
        }
        app = App(Settings.model_validate(settings))
        await app.start()
        yield app
        await app.stop()


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: str(scenario.number))
async def test_the_verdict_is_the_listed_one(scenario: Scenario, proxy: App) -> None:
    """Each script gets the verdict and the cause that the table gives it."""
    body = {
        "model": "m",
        "stream": True,
        "messages": [{"role": "user", "content": scenario.prompt}],
    }
    async with aiohttp.ClientSession() as client, asyncio.timeout(PATIENCE_S):
        url = f"{proxy.proxy_url}/v1/chat/completions"
        async with client.post(url, json=body) as response:
            try:
                await response.read()
            except aiohttp.ClientPayloadError:
                assert scenario.verdict == "error truncated"
        admin_port = int(proxy.admin_url.rpartition(":")[2])
        while not (verdicts := (await scrape(admin_port)).verdicts()):
            pass
    verdict, _, cause = scenario.verdict.partition(" ")

    assert verdicts == {(verdict, cause): 1}
