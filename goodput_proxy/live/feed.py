"""One message a second, made once for all who listen, and not at all when nobody does."""

from __future__ import annotations

import asyncio
from time import monotonic_ns
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

# A browser opens one connection per page; this bounds what a broken client can hold.
MAX_LISTENERS = 64
# Timers of uvloop fire up to a millisecond early, and the second has to have passed.
_PAST_THE_SECOND_NS = 20_000_000


class Feed:
    """Messages to a changing number of listeners.

    Args:
        make: returns the message of the second that has just passed.
        period_ns: the second.
    """

    def __init__(self, make: Callable[[], Awaitable[bytes]], period_ns: int = 10**9) -> None:
        self._make = make
        self._period_ns = period_ns
        self._listeners = 0
        self._number = 0
        self._news: asyncio.Future[bytes | None] | None = None  # None: there will be no more
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def full(self) -> bool:
        """Whether no more listeners are taken."""
        return self._closed or self._listeners >= MAX_LISTENERS

    async def listen(self) -> AsyncGenerator[tuple[int, bytes]]:
        """Yield each message with its number, as fast as they are taken, and none twice.

        Numbers count up; one is missing when a message came while the last was being dealt with.
        """
        self._listeners += 1
        try:
            while not self._closed:
                message = await asyncio.shield(self._next())
                if message is None:
                    return
                yield self._number, message
        finally:
            self._listeners -= 1

    def close(self) -> None:
        """Let every listener go."""
        self._closed = True
        if self._task is not None:
            self._task.cancel()

    def _next(self) -> asyncio.Future[bytes | None]:
        """Return the message to come."""
        loop = asyncio.get_running_loop()
        if self._news is None:
            self._news = loop.create_future()
            self._task = loop.create_task(self._run())
            self._task.add_done_callback(self._tell_end)
        return self._news

    async def _run(self) -> None:
        """Make messages for as long as somebody listens."""
        second = monotonic_ns() // self._period_ns
        while self._listeners:
            # Counted, and not asked of the clock alone: a timer may fire a moment too early.
            second = max(second + 1, (monotonic_ns() - _PAST_THE_SECOND_NS) // self._period_ns + 1)
            due_ns = second * self._period_ns + _PAST_THE_SECOND_NS
            await asyncio.sleep((due_ns - monotonic_ns()) / 10**9)
            if not self._listeners:
                break
            message = await self._make()
            news, self._news = self._news, asyncio.get_running_loop().create_future()
            self._number += 1
            if news is not None:
                news.set_result(message)
        self._news = self._task = None

    def _tell_end(self, task: asyncio.Task[None]) -> None:
        """Pass on why there will be no more messages."""
        if self._task is not task or self._news is None:
            return
        if task.cancelled():
            self._news.set_result(None)
        elif (error := task.exception()) is not None:
            self._news.set_exception(error)
        self._news = self._task = None
