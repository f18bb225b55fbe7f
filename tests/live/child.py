"""A proxy in a process of its own, so that what measures it is not measured with it."""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

ROOT = Path(__file__).parent.parent.parent


@asynccontextmanager
async def child(module: str) -> AsyncIterator[tuple[str, Callable[[str], Awaitable[Any]]]]:
    """Run a module that prints its address and answers lines by JSON; return both.

    Args:
        module: such as `tests.live.flood`.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module),
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    commands, answers = process.stdin, process.stdout
    assert commands is not None
    assert answers is not None

    async def ask(line: str) -> Any:
        commands.write(line.encode() + b"\n")
        return json.loads(await answers.readline())

    line = b""
    while not line.startswith(b"http://"):  # its log comes first
        line = await answers.readline()
        assert line, f"{module} has ended"
    try:
        yield line.decode().strip(), ask
    finally:
        commands.close()
        await process.wait()
