"""How many inference requests are in flight in all workers: one number each, in shared memory.

A request is counted by how many others were there when it arrived, whichever workers those were
with; asking another process would take longer than the answer holds. Each worker writes its own
number only, whole and aligned, so nobody waits for anybody; the numbers are read one after the
other, and so may be a few microseconds apart.
"""

from __future__ import annotations

import mmap
import os

_SLOT_BYTES = 8


class Headcount:
    """The numbers of all workers.

    Args:
        descriptor: of the shared memory.
        workers: how many there are.
    """

    __slots__ = ("_map", "_slots", "descriptor")

    def __init__(self, descriptor: int, workers: int) -> None:
        self.descriptor = descriptor
        self._map = mmap.mmap(descriptor, _SLOT_BYTES * workers)
        self._slots = memoryview(self._map).cast("q")

    @classmethod
    def create(cls, workers: int) -> Headcount:
        """Return the numbers of workers that are yet to come, in memory that has no name."""
        descriptor = os.memfd_create("in_flight")
        os.ftruncate(descriptor, _SLOT_BYTES * workers)
        return cls(descriptor, workers)

    def add(self, worker: int, change: int) -> None:
        """Count requests of one's own in or out."""
        self._slots[worker] += change

    def clear(self, worker: int) -> None:
        """Forget the requests of a worker that has gone."""
        self._slots[worker] = 0

    def total(self) -> int:
        """Return how many there are."""
        return sum(self._slots)

    def close(self) -> None:
        """Let nobody else have the memory; it can still be read here."""
        os.close(self.descriptor)
