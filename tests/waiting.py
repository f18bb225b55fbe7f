"""How tests wait: for a condition, and never longer than something that works can take."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

# Longer than anything that a test waits for, on a busy machine; a test that fails says why.
PATIENCE_S = 10.0


async def eventually(holds: Callable[[], object], what: str = "") -> None:
    """Wait for what has no event of its own: a plain counter or flag."""
    try:
        async with asyncio.timeout(PATIENCE_S):
            while not holds():  # noqa: ASYNC110 -- see above
                await asyncio.sleep(0.001)
    except TimeoutError:
        raise AssertionError(f"{what or holds} within {PATIENCE_S} s") from None


async def eventually_async(holds: Callable[[], Awaitable[object]], what: str = "") -> None:
    """Wait for what has to be asked for, as a scrape."""
    try:
        async with asyncio.timeout(PATIENCE_S):
            while not await holds():  # noqa: ASYNC110 -- as above
                await asyncio.sleep(0.005)
    except TimeoutError:
        raise AssertionError(f"{what or holds} within {PATIENCE_S} s") from None
