"""Promise 46: the same bytes through nginx and HAProxy, and where the proxy differs from them."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from tests.conformance.cases import REQUESTS, RESPONSES
from tests.conformance.differences import ANY_CASE, DIFFERENCES, VERSIONS
from tests.conformance.observed import AnsweringUpstream, Case, compare, play
from tests.conformance.oracles import ORACLES, serving
from tests.integration.harness import RunningProxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

CASES = {
    "request": {name: Case(request) for name, request in REQUESTS.items()},
    "response": RESPONSES,
}
OURS = "ours"


@asynccontextmanager
async def proxies(directory: Path) -> AsyncIterator[dict[str, tuple[int, AnsweringUpstream]]]:
    """Run the three proxies, each with an upstream of its own."""
    async with AsyncExitStack() as stack:
        running = {}
        for name in (OURS, *ORACLES):
            upstream = AnsweringUpstream()
            await upstream.start()
            stack.push_async_callback(upstream.stop)
            if name == OURS:
                proxy = await RunningProxy.start(upstream.fake)
                stack.push_async_callback(proxy.stop)
                port = proxy.port
            else:
                port = await stack.enter_async_context(serving(name, directory, upstream.port))
            running[name] = port, upstream
        yield running


@pytest.mark.timeout(180)
@pytest.mark.parametrize("kind", CASES)
async def test_46_every_difference_is_listed(tmp_path: Path, kind: str) -> None:
    """A difference that is not listed fails, and so does one that is and no longer occurs."""
    for oracle, expected in VERSIONS.items():
        if not (here := ORACLES[oracle].version).startswith(expected):
            pytest.skip(f"the list was made beside {oracle} {expected}x; here is {here}")
    listed = {
        (case, oracle, row.aspect)
        for row in DIFFERENCES
        if row.kind == kind
        for oracle in row.oracles
        for case in row.cases
    }
    unlisted, seen = [], set()
    async with proxies(tmp_path) as running:
        for name, case in CASES[kind].items():
            plays = (play(port, upstream, case) for port, upstream in running.values())
            found = dict(zip(running, await asyncio.gather(*plays), strict=True))
            for oracle in ORACLES:
                for aspect, (ours, theirs) in compare(found[OURS], found[oracle]).items():
                    known = listed & {(each, oracle, aspect) for each in (name, *ANY_CASE)}
                    seen |= known
                    if not known:
                        unlisted.append((name, oracle, aspect, ours, theirs))

    assert unlisted == [], "\n".join(map(str, unlisted))
    assert sorted(listed - seen) == []
