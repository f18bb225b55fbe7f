"""The tools that Debian has, run as docs/load-tools.md runs them: their numbers are the proxy's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from tests.conftest import require_program
from tests.loadtools.play import play
from tests.loadtools.recipes import find_command, point_at
from tests.loadtools.site import run_tool, simulated_server
from tests.loadtools.tools import count_sent, mend_jmeter

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = pytest.mark.asyncio(loop_scope="module")

LIMIT_S = 40.0  # each takes three to five seconds where nothing else runs
SENT = 128


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def upstream() -> AsyncIterator[str]:
    """Return the simulated server, which all share."""
    async with simulated_server() as url:
        yield url


@pytest.mark.parametrize("program", ["hey", "wrk", "jmeter"])
async def test_the_numbers_agree(program: str, upstream: str, tmp_path: Path) -> None:
    """Exactly: the tool's requests, `/metrics`, and `/api/v1/` meanwhile and at the end.

    All answers are 200 and half of the load waits for a slot longer than the limit: what the tools
    call a success is not in time.
    """
    require_program(program)

    async def send(port: int) -> int:
        command = point_at(find_command(program), port)
        if program == "jmeter":
            command = mend_jmeter(command)
        return count_sent(program, await run_tool(command, tmp_path, LIMIT_S))

    played = await play(upstream, send)

    assert [check for check in played.checks if not check.holds] == []
    assert played.sent == SENT
    assert played.seen.looks_growing > 0
    assert len(played.seen.messages) >= 4
    assert played.seen.counts.keys() <= {("good", ""), ("slow", "ttft")}
    assert played.seen.counts["slow", "ttft"] > 0
