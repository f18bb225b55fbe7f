"""Clients that leave while nobody reads from them.

A connection that is not read from, because the server does not take the upload as fast as it
comes, is not watched by the event loop either: an end or a reset would be found when reading goes
on, and a server kept busy until then. Linux tells of both without a read (EPOLLRDHUP), to an
epoll of our own beside the loop's.

What the kernel does not know cannot be told: an end that stands behind bytes for which there is
no room yet is found when the server takes them. Where there is no epoll nothing is told early.
"""

from __future__ import annotations

import contextlib
import select
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable


class Departures:
    """Notice that a client is gone.

    Args:
        loop: the running event loop.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._left: dict[int, Callable[[], None]] = {}  # by descriptor: what to do
        self._epoll: select.epoll | None = None  # made when it is first needed

    def watch(self, descriptor: int, left: Callable[[], None]) -> None:
        """Call `left` once the client of a connection has closed or reset it, or half-closed."""
        if self._epoll is None:
            if not hasattr(select, "epoll"):
                return
            self._epoll = select.epoll()
            self._loop.add_reader(self._epoll.fileno(), self._look)
        with contextlib.suppress(FileExistsError):  # it is watched already
            self._epoll.register(descriptor, select.EPOLLRDHUP)
        self._left[descriptor] = left

    def forget(self, descriptor: int, left: Callable[[], None]) -> None:
        """Watch no more; a number that stands for another connection by now is left alone."""
        if self._left.get(descriptor) == left:
            self._drop(descriptor)

    def close(self) -> None:
        """Watch nothing any more."""
        self._left.clear()
        if self._epoll is not None:
            self._loop.remove_reader(self._epoll.fileno())
            self._epoll.close()
            self._epoll = None

    def _look(self) -> None:
        gone = self._epoll.poll(0) if self._epoll is not None else []
        for descriptor, _ in gone:
            left = self._left.get(descriptor)
            self._drop(descriptor)
            if left is not None:
                left()

    def _drop(self, descriptor: int) -> None:
        self._left.pop(descriptor, None)
        if self._epoll is not None:
            with contextlib.suppress(OSError):  # what is closed is out of it
                self._epoll.unregister(descriptor)
