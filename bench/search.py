"""The highest step that holds, found by halving: pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def highest(steps: int, holds: Callable[[int], bool], tries: int = 2) -> int | None:
    """Return the highest of the steps 0, 1, … at which `holds`, None if there is none.

    Whatever holds at one step is taken to hold below it. A step does not hold when it has failed
    `tries` times: a machine that was busy for a moment must not halve a proxy.
    """
    low, high = -1, steps  # holds at low, not at high
    while high - low > 1:
        middle = (low + high) // 2
        if any(holds(middle) for _ in range(tries)):
            low = middle
        else:
            high = middle
    return low if low >= 0 else None
