"""The meter's work, put behind the event loop's writes.

The bytes of a read are with the kernel before anything looks at them; what that takes is what the
proxy itself costs a token, and is measured here.
"""

from __future__ import annotations

from collections import deque
from time import monotonic_ns
from typing import TYPE_CHECKING, Final, Protocol

from .guard import Guarded

if TYPE_CHECKING:
    from collections.abc import Callable

    from .ledger import Ledger

# After so long the loop gets its turn: reads and writes of other streams do not wait longer.
_DRAIN_NS: Final = 500_000


class Digesting(Protocol):
    """A meter that holds what it has not looked at yet."""

    def digest(self) -> bool:
        """Look at some of it; return whether that was all."""


class TapQueue(Guarded):
    """Let taps look at their bytes after the event loop has written.

    Args:
        call_soon: the event loop's.
        metrics: where the delay between read and write is counted.
    """

    __slots__ = ("_call_soon", "_due")

    def __init__(self, call_soon: Callable[[Callable[[], None]], object], metrics: Ledger) -> None:
        super().__init__(metrics)
        self._call_soon = call_soon
        self._due: deque[Digesting] = deque()

    def put(self, tap: Digesting, now_ns: int) -> None:
        """Queue a tap whose newest bytes were read at `now_ns` and have just been written."""
        self._guard(self._put, tap, now_ns)

    def add(self, tap: Digesting) -> None:
        """Queue a tap that holds something."""
        self._guard(self._add, tap)

    def _put(self, tap: Digesting, now_ns: int) -> None:
        # uvloop's `write` hands bytes to the kernel itself, as asyncio's does. One read of each
        # batch is sampled.
        self._metrics.overhead("token", monotonic_ns() - now_ns)
        self._add(tap)

    def _add(self, tap: Digesting) -> None:
        if not self._due:
            self._call_soon(self._run)
        self._due.append(tap)

    def _run(self) -> None:
        self._guard(self._drain)

    def _drain(self) -> None:
        # Runs when the reads of this iteration are written, all of them.
        begin_ns = monotonic_ns()
        while self._due and monotonic_ns() - begin_ns < _DRAIN_NS:
            tap = self._due.popleft()
            if not tap.digest():
                self._due.append(tap)
        if self._due:
            self._call_soon(self._run)

    def _give_up(self) -> None:
        """Let taps look at what they hold when they are fed again, or at the end."""
        self._due.clear()
