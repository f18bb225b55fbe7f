"""Fixtures: an upstream that records, and proxies in front of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import pytest

from tests.integration.fake_upstream import FakeUpstream
from tests.integration.harness import RunningProxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class StartProxy(Protocol):
    """Start a proxy with settings of the test's choice."""

    async def __call__(self, **settings: Any) -> RunningProxy: ...


@pytest.fixture
async def upstream() -> AsyncIterator[FakeUpstream]:
    """Return a recording upstream that listens."""
    upstream = FakeUpstream()
    await upstream.start()
    yield upstream
    await upstream.stop()


@pytest.fixture
async def start_proxy(upstream: FakeUpstream) -> AsyncIterator[StartProxy]:
    """Return a function that starts a proxy in front of the upstream."""
    running: list[RunningProxy] = []

    async def start(**settings: Any) -> RunningProxy:
        proxy = await RunningProxy.start(upstream, **settings)
        running.append(proxy)
        return proxy

    yield start
    for proxy in running:
        await proxy.stop()


@pytest.fixture
async def proxy(start_proxy: StartProxy) -> RunningProxy:
    """Return a proxy with default settings in front of the upstream."""
    return await start_proxy()
