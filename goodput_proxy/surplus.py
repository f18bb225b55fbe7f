"""Connections over the limit: each is answered 503 and closed, and costs next to nothing.

The answer waits for a first byte, since clients do not expect one to a request that they have not
sent; what follows is read and thrown away for a moment, for closing on unread bytes would reset
the connection before the answer is read. Only so many are treated that politely at a time: a
connection that is turned away holds a descriptor, too.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, cast

from .heads import error_body, own_answer

if TYPE_CHECKING:
    from collections.abc import Callable

_LINGER_S: Final = 1.0
_MAX_LINGERING: Final = 16
_ANSWER: Final = own_answer(
    503,
    b"Service Unavailable",
    error_body("The proxy has as many connections as it may have.", "too_many_connections"),
    b"Retry-After: 1",
)


class Doorman:
    """Turn connections away.

    Args:
        loop: the running event loop.
        count: told of each.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, count: Callable[[], None]) -> None:
        self._loop = loop
        self._count = count
        self._lingering: set[TurnedAway] = set()

    def __call__(self) -> TurnedAway:
        """Make the protocol of a connection that is one too many."""
        self._count()
        return TurnedAway(self._loop, self._lingering)

    def close(self) -> None:
        """Close those that linger."""
        for connection in list(self._lingering):
            connection.close()


class TurnedAway(asyncio.Protocol):
    """A connection that is one too many.

    Args:
        loop: the running event loop.
        lingering: those that have not been closed yet, this one among them while it lingers.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, lingering: set[TurnedAway]) -> None:
        self._loop = loop
        self._lingering = lingering
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._answered = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for a request, unless too many are waited for."""
        self._transport = cast("asyncio.Transport", transport)
        if len(self._lingering) < _MAX_LINGERING:
            self._lingering.add(self)
            self._timer = self._loop.call_later(_LINGER_S, self.close)
        else:
            self._transport.write(_ANSWER)
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        """Answer whatever is asked, once."""
        del data
        if self._transport is not None and not self._answered:
            self._answered = True
            self._transport.write(_ANSWER)
            if self._transport.can_write_eof():
                self._transport.write_eof()

    def close(self) -> None:
        """End it."""
        if self._transport is not None:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Make room for the next."""
        del exc
        self._lingering.discard(self)
        if self._timer is not None:
            self._timer.cancel()
