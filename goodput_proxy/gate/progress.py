"""A line that says how far a wait has come, for people who look at a terminal."""

from __future__ import annotations

import asyncio
import itertools
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

# What is over sooner needs no explanation.
SHOW_AFTER_S = 2
_CLEAR_LINE = "\r\x1b[K"


@asynccontextmanager
async def progress(
    out: TextIO, describe: Callable[[int], str], tick_s: float = 1.0
) -> AsyncIterator[None]:
    """Show a line for as long as the block lasts, and leave none behind.

    Args:
        out: where to; nothing is written to what is no terminal.
        describe: returns the line by the seconds that have passed.
        tick_s: how long a second lasts.
    """
    if not out.isatty():
        yield
        return
    ticking = asyncio.create_task(_tick(out, describe, tick_s))
    try:
        yield
    finally:
        ticking.cancel()
        with suppress(asyncio.CancelledError):
            await ticking


async def _tick(out: TextIO, describe: Callable[[int], str], tick_s: float) -> None:
    await asyncio.sleep(SHOW_AFTER_S * tick_s)
    try:
        for second in itertools.count(SHOW_AFTER_S):
            out.write(_CLEAR_LINE + describe(second))
            out.flush()
            await asyncio.sleep(tick_s)
    finally:
        out.write(_CLEAR_LINE)
        out.flush()
