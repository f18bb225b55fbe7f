"""Where the buckets of every histogram and the cells of the frontier end.

Each configured limit is an edge of its own, so that a share within a limit is exact. Edges are
only ever added while the process lives: counts that were made with fewer stay true (see
`rebin`), and a limit that is taken back may be asked of the past.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .policy import Policy

# Default edges in seconds.
# TTFT: vLLM's own list. ITL and ICL: vLLM's with a low end, since its 10 ms is useless for a
# 15 ms limit (MLPerf interactive). E2E: OpenTelemetry's list, continued.
_TTFT_S = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5),
    *(10.0, 20.0, 40.0, 80.0, 160.0, 640.0, 2560.0),
)
_ITL_S = (
    *(0.002, 0.004, 0.006, 0.008, 0.01, 0.015, 0.02, 0.025, 0.03, 0.04, 0.05, 0.06, 0.075),
    *(0.08, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5),
)
_E2E_S = (
    *(0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92),
    *(163.84, 327.68, 655.36),
)
# A stall is an ICL that went wrong: the same low end, reaching as far as a queue can hold.
_STALL_S = (*_ITL_S, 5.0, 10.0, 20.0, 40.0)
# The frontier's: eleven and the one without end, around the limits of the presets.
_FRONTIER_TTFT_S = (0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0)
_FRONTIER_ITL_S = (0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.075, 0.1, 0.15, 0.2, 0.5)

# What the proxy itself costs.
_OVERHEAD_S = (
    *(0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1),
    *(0.25, 0.5, 1.0, 5.0),
)

# Reloads cannot grow a histogram beyond this, nor an axis of the frontier beyond the next.
MAX_EDGES = 96
MAX_FRONTIER_EDGES = 24


class Edges(msgspec.Struct, frozen=True, gc=False):
    """Ascending upper edges in nanoseconds of everything that depends on the policy."""

    ttft_ns: tuple[int, ...] = ()
    itl_ns: tuple[int, ...] = ()
    icl_ns: tuple[int, ...] = ()
    stall_ns: tuple[int, ...] = ()
    e2e_ns: tuple[int, ...] = ()
    frontier_ttft_ns: tuple[int, ...] = ()
    frontier_itl_ns: tuple[int, ...] = ()


def find_edges(policy: Policy, known: Edges | None = None) -> Edges:
    """Return the edges for a policy's limits, and all that are known already.

    Limits come before defaults. One that no longer finds a place beside what is known (see
    `MAX_EDGES`) gets no edge: a histogram shows its neighbours then, verdicts are not concerned.
    """
    limits = [slo.limits for slo in policy.classes]
    ttft = [limit.ttft_ns for limit in limits]
    itl = [limit.itl_ns for limit in limits]
    stall = [limit.stall_ns for limit in limits]
    e2e = [limit.e2e_ns for limit in limits]
    wide, few = MAX_EDGES, MAX_FRONTIER_EDGES
    old = known or Edges()
    return Edges(
        _add(old.ttft_ns, ttft, _TTFT_S, wide),
        _add(old.itl_ns, itl, _ITL_S, wide),
        _add(old.icl_ns, [*itl, *stall], _ITL_S, wide),
        _add(old.stall_ns, stall, _STALL_S, wide),
        _add(old.e2e_ns, e2e, _E2E_S, wide),
        _add(old.frontier_ttft_ns, ttft, _FRONTIER_TTFT_S, few),
        _add(old.frontier_itl_ns, itl, _FRONTIER_ITL_S, few),
    )


def to_ns(edges_s: Iterable[float]) -> tuple[int, ...]:
    """Return edges that are given in seconds."""
    return tuple(round(edge * 10**9) for edge in edges_s)


def band_of(in_flight: int) -> int:
    """Return the number n of the band with its end at 2^n in which so many requests lie."""
    return max(0, in_flight - 1).bit_length()


OVERHEAD_NS = to_ns(_OVERHEAD_S)


def rebin(counts: Sequence[int], edges_ns: Sequence[int], wider_ns: Sequence[int]) -> list[int]:
    """Return disjoint bucket counts, one more than edges, as they stand among more edges.

    Where in its bucket a value lay is not known. It goes below the bucket's old end, so that
    every old edge keeps its cumulative count, and a new one has what came after it.
    """
    moved = [0] * (len(wider_ns) + 1)
    for edge_ns, count in zip(edges_ns, counts, strict=False):
        moved[bisect_left(wider_ns, edge_ns)] += count
    moved[-1] += counts[-1]
    return moved


def _add(
    known_ns: tuple[int, ...],
    limits_ns: Iterable[int | None],
    defaults_s: Iterable[float],
    most: int,
) -> tuple[int, ...]:
    limits = [ns for ns in limits_ns if ns is not None]
    edges = dict.fromkeys((*known_ns, *limits, *to_ns(defaults_s)))
    return tuple(sorted(list(edges)[:most]))
