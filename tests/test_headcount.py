"""The number in flight is that of all workers."""

from __future__ import annotations

import os

from goodput_proxy.headcount import Headcount


def test_each_sees_all() -> None:
    """Whoever has the memory reads the sum, and a worker that is gone counts no longer."""
    own = Headcount.create(3)
    other = Headcount(os.dup(own.descriptor), 3)
    own.add(0, 1)
    other.add(1, 1)
    other.add(1, 1)
    assert (own.total(), other.total()) == (3, 3)
    own.clear(1)
    own.add(0, -1)
    assert (own.total(), other.total()) == (0, 0)
    own.close()
    other.close()
    assert own.total() == 0
