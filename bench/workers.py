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
from typing import TYPE_CHECKING, Any

from bench.command import say
from bench.load import Load
from bench.measure import Plan, run_rounds
from bench.peers.ours import PURE, SUPERVISOR, WORKERS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from bench.measure import Sample

_ROUNDS = 3
# Light enough for all processes of the proxy to share one core.
_ONE = Plan(
    Load(connections=50, requests=2, tokens=100, interval_us=25_000),
    Load(connections=20, requests=60, tokens=0, interval_us=50_000),
    rounds=1,
)
_TWO = Plan(replace(_ONE.stream, connections=100), replace(_ONE.small, connections=40), rounds=1)


def measure(repeats: Iterable[int], say: Callable[[str], None]) -> dict[str, Any]:
    """Return the processor time per token and per small request, by kind of process."""
    peers = (PURE, WORKERS, SUPERVISOR)
    samples = []
    for _ in repeats:
        samples += run_rounds(peers[:1], _ONE, say)
        samples += run_rounds(peers[1:], _TWO, say)
    return {"costs": {peer.name: _medians(samples, peer.name) for peer in peers}}


def ratio(costs: Mapping[str, Mapping[str, float]], unit: str, *, shared: bool = False) -> float:
    """Return how much two workers carry of what one process does.

    Args:
        costs: by kind of process, then by unit.
        unit: `token` or `small`.
        shared: whether their supervisor has no core of its own.
    """
    cost = costs[WORKERS.name][unit] + (costs[SUPERVISOR.name][unit] if shared else 0.0)
    return 2 * costs[PURE.name][unit] / cost


def main() -> int:
    """Measure, and print the table."""
    costs = measure(range(_ROUNDS), say)["costs"]
    print("| processes | us per token | us per small request |")
    print("|---|---|---|")
    for name, cost in costs.items():
        print(f"| {name} | {cost['token']:.1f} | {cost['small']:.0f} |")
    for what, unit in (("tokens", "token"), ("small requests", "small")):
        print(f"{what}: two workers / one process {ratio(costs, unit):.2f}, ", end="")
        print(f"{ratio(costs, unit, shared=True):.2f} if their supervisor has no core of its own")
    return 0


def _medians(samples: Sequence[Sample], name: str) -> dict[str, float]:
    """Return the processor time per token and per small request of one peer."""
    mine = [sample for sample in samples if sample.peer == name]
    return {
        "token": median(sample.stream.cpu_us_per_unit for sample in mine),
        "small": median(sample.small.cpu_us_per_unit for sample in mine),
    }


if __name__ == "__main__":
    sys.exit(main())
