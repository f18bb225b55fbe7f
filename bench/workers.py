"""`python -m bench.workers`: what two workers can carry, and what it takes to supervise them.

A worker that spends as much per token and request as the process alone, each at the same load,
carries as much, on a core of its own. So processor time is compared and not throughput: the load
runs on this machine, too, and with two cores nothing would be left to drive two workers with. What
the kernel deals to each worker is another matter: it goes by the clients' addresses and ports.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from statistics import median
from typing import TYPE_CHECKING

from bench.load import Load
from bench.measure import Plan, run_rounds
from bench.peers.ours import PURE, SUPERVISOR, WORKERS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bench.measure import Sample, Use

_ROUNDS = 3
# Light enough for all processes of the proxy to share one core.
_ONE = Plan(
    Load(connections=50, requests=2, tokens=100, interval_us=25_000),
    Load(connections=20, requests=60, tokens=0, interval_us=50_000),
    rounds=1,
)
_TWO = Plan(replace(_ONE.stream, connections=100), replace(_ONE.small, connections=40), rounds=1)


def main() -> int:
    """Measure, and print the table."""
    peers = (PURE, WORKERS, SUPERVISOR)
    samples = []
    for _ in range(_ROUNDS):
        samples += run_rounds(peers[:1], _ONE, _say)
        samples += run_rounds(peers[1:], _TWO, _say)
    token = _medians(samples, lambda sample: sample.stream)
    small = _medians(samples, lambda sample: sample.small)
    print("| processes | us per token | us per small request |")
    print("|---|---|---|")
    for peer in peers:
        print(f"| {peer.name} | {token[peer.name]:.1f} | {small[peer.name]:.0f} |")
    for what, cost in (("tokens", token), ("small requests", small)):
        one, work = cost[PURE.name], cost[WORKERS.name]
        both = work + cost[SUPERVISOR.name]
        print(f"{what}: two workers / one process {2 * one / work:.2f}, ", end="")
        print(f"{2 * one / both:.2f} if their supervisor has no core of its own")
    return 0


def _say(line: str) -> None:
    print(line, file=sys.stderr)


def _medians(samples: Sequence[Sample], use: Callable[[Sample], Use]) -> dict[str, float]:
    """Return the processor time per token or request of each peer."""
    return {
        name: median(use(s).cpu_us_per_unit for s in samples if s.peer == name)
        for name in {s.peer for s in samples}
    }


if __name__ == "__main__":
    sys.exit(main())
