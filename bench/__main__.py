"""`python -m bench`: measure one load, print the table, judge it against the budget.

All loads, and what is kept of them, are bench/full.py's.

Exit status: 0 measured and within the budget, 1 a `must` of the budget or of the bench
itself failed, 2 nothing could be measured. With `--quick` nothing is judged: the loads
are too small to mean anything.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from bench import machine, meter, report
from bench.command import end_in_order, named, say
from bench.measure import Plan, run_rounds
from bench.parts.side import QUICK, SMALL, STREAM
from bench.peers import LITELLM, PEERS
from bench.running import BenchError

if TYPE_CHECKING:
    from collections.abc import Sequence

_DEFAULT = Plan(STREAM, SMALL, rounds=3)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the bench and return its exit status."""
    options = _parse(arguments)
    end_in_order()
    plan = _plan(options)
    skipped = {peer.name: why for peer in options.peers if (why := peer.missing())}
    peers = [peer for peer in options.peers if peer.name not in skipped]
    for name, why in skipped.items():
        say(f"skipped {name}: {why}")
    try:
        samples = run_rounds(peers, plan, say)
    except BenchError as error:
        say(f"bench: {error}")
        return 2
    facts = machine.describe(peers)
    results = report.Results(samples)
    costs = {} if options.quick else meter.by_build()
    text = report.render(facts, plan, results, skipped, costs)
    print(text, end="")
    checks = report.budget_checks(results) + report.harness_checks(results)
    checks += report.meter_checks(costs)
    failed = any(check.verdict == "FAIL" for check in checks)
    return 1 if failed and not options.quick else 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    peers = {peer.name: peer for peer in PEERS}
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a smoke test of a few seconds")
    parser.add_argument(
        "--peers",
        type=lambda text: named(text, peers),
        default=tuple(peer for peer in PEERS if peer.name != LITELLM),
        metavar="NAME,NAME",
        help=f"these of: {', '.join(peers)}",
    )
    parser.add_argument("--rounds", type=_positive, help="interleaved repeats (3)")
    parser.add_argument("--connections", type=_positive, help="concurrent streams (200)")
    parser.add_argument("--requests", type=_positive, help="requests per connection (2)")
    parser.add_argument("--tokens", type=_positive, help="tokens per answer (200)")
    parser.add_argument("--rate", type=_positive, help="tokens per second of a stream (50)")
    parser.add_argument(
        "--closed-loop",
        action="store_true",
        help="small requests as fast as they go instead of 2,000/s",
    )
    return parser.parse_args(arguments)


def _plan(options: argparse.Namespace) -> Plan:
    plan = QUICK if options.quick else _DEFAULT
    interval_us = round(1e6 / options.rate) if options.rate else plan.stream.interval_us
    stream = replace(
        plan.stream,
        connections=options.connections or plan.stream.connections,
        requests=options.requests or plan.stream.requests,
        tokens=options.tokens or plan.stream.tokens,
        interval_us=interval_us,
    )
    small = replace(plan.small, interval_us=0) if options.closed_loop else plan.small
    return Plan(stream, small, options.rounds or plan.rounds)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


if __name__ == "__main__":
    sys.exit(main())
