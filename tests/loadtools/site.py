"""The simulated server, and a tool that sends: each a process of its own."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from tests.loadtools.recipes import ROOT, find_limits
from tests.waiting import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path


def limit_flags() -> list[str]:
    """Return the page's limits as arguments."""
    return [part for flag in find_limits() for part in flag.split()]


@asynccontextmanager
async def simulated_server() -> AsyncIterator[str]:
    """Run `goodput-proxy demo --server-only`, and yield its URL."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "goodput_proxy", "demo", "--server-only"),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(PATIENCE_S):
            said = (await process.stdout.readline()).decode()
        (url,) = re.findall(r"http://127\.0\.0\.1:\d+", said)
        yield url
    finally:
        process.terminate()
        await process.communicate()


async def run_tool(
    command: str, folder: Path, limit_s: float, environment: Mapping[str, str] | None = None
) -> str:
    """Run a command of the page in a folder that has the project's examples; return what it said.

    Raises:
        RuntimeError: when it fails, or takes too long.
    """
    (folder / "examples").symlink_to(ROOT / "examples")
    process = await asyncio.create_subprocess_exec(
        *("sh", "-c", command),
        cwd=folder,
        env={**os.environ, **(environment or {})},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,  # it may have children, which have to end with it
    )
    try:
        async with asyncio.timeout(limit_s):
            said, _ = await process.communicate()
    except TimeoutError:
        raise RuntimeError(f"{command} takes more than {limit_s} s") from None
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    text = said.decode(errors="replace")
    if process.returncode:
        raise RuntimeError(f"{command} ended with {process.returncode}:\n{text[-3000:]}")
    return text
