"""How many connections file descriptors allow."""

from __future__ import annotations

import resource

import pytest

from goodput_proxy.descriptors import affordable_connections, raise_limit

INFINITY = resource.RLIM_INFINITY


class Limits:
    """Stands for the process's limits."""

    def __init__(self, soft: int, hard: int, *, ceiling: int | None = None) -> None:
        self.now = (soft, hard)
        self._ceiling = ceiling

    def getrlimit(self, _: int) -> tuple[int, int]:
        return self.now

    def setrlimit(self, _: int, limits: tuple[int, int]) -> None:
        if self._ceiling is not None and limits[0] > self._ceiling:
            raise ValueError("the system has a limit of its own")
        self.now = limits


@pytest.mark.parametrize(
    ("before", "after", "affordable"),
    [
        # soft and hard limit; as systemd sets them
        (Limits(1024, 524_288), (2064, 524_288), 1000),
        (Limits(1024, INFINITY), (2064, INFINITY), 1000),
        (Limits(1024, 1500), (1500, 1500), 718),
        (Limits(4096, 4096), (4096, 4096), 2016),
        (Limits(256, INFINITY, ceiling=512), (256, INFINITY), 96),  # as macOS does
        (Limits(INFINITY, INFINITY), (INFINITY, INFINITY), 2**30 - 32),
        (Limits(64, 64), (64, 64), 1),
    ],
)
def test_limits(
    monkeypatch: pytest.MonkeyPatch, before: Limits, after: tuple[int, int], affordable: int
) -> None:
    """As many descriptors as a thousand connections need are asked for; some are kept back."""
    monkeypatch.setattr(resource, "getrlimit", before.getrlimit)
    monkeypatch.setattr(resource, "setrlimit", before.setrlimit)
    raise_limit(1000)

    assert before.now == after
    assert affordable_connections() == affordable
