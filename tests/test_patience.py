"""The sweep over what waits for clients; what becomes of them is promise 39's."""

from __future__ import annotations

import asyncio

from goodput_proxy.patience import Sweep
from goodput_proxy.settings import TimeoutSettings
from tests.waiting import eventually


class Waiting:
    """Something that waits for so many looks."""

    def __init__(self, looks: int) -> None:
        self.left = looks
        self.times_s: list[float] = []

    def look(self, now_s: float) -> bool:
        self.times_s.append(now_s)
        self.left -= 1
        return self.left > 0


def make_sweep(**timeouts: str) -> Sweep:
    """Return a sweep that counts nothing."""
    settings = TimeoutSettings.model_validate(timeouts)
    return Sweep(asyncio.get_running_loop(), settings, lambda _: None)


async def test_all_are_looked_at_until_they_wait_no_more() -> None:
    """One timer looks at all; who waits no more is left alone, and then there is no timer."""
    sweep = make_sweep(head="8ms")
    short, long = Waiting(1), Waiting(3)
    sweep.add(short)
    sweep.add(long)
    sweep.add(long)
    await eventually(lambda: not long.left)
    await asyncio.sleep(0.01)

    assert (len(short.times_s), len(long.times_s)) == (1, 3)
    assert short.times_s[0] == long.times_s[0]
    assert sweep._timer is None
    again = Waiting(1)
    sweep.add(again)
    await eventually(lambda: not again.left)


async def test_nobody_is_looked_at_after_the_end() -> None:
    """A sweep that is closed looks no more."""
    sweep = make_sweep(upload="8ms")
    waiting = Waiting(1)
    sweep.add(waiting)
    sweep.close()
    sweep.close()
    await asyncio.sleep(0.02)

    assert not waiting.times_s


async def test_looks_are_as_frequent_as_the_shortest_timeout_needs() -> None:
    """A client is found out a quarter of the shortest timeout late, and never more than 1 s."""
    assert make_sweep()._period_s == 1
    assert make_sweep(download="100ms")._period_s == 0.025
