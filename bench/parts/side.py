"""Side by side: what `make bench` measures, with all peers."""

from __future__ import annotations

from dataclasses import asdict

from bench import report
from bench.load import Load
from bench.measure import Plan, Sample, Use, run_rounds
from bench.peers import LITELLM, NGINX
from bench.report import Check

from .part import Context, Data, Part

# 200 streams at 50 tokens/s: a busy inference server, and below half of one core for every
# proxy that is worth comparing. Small requests: 2,000/s, paced, because a closed loop would
# let the fast proxies batch and the slow ones not.
STREAM = Load(connections=200, requests=2, tokens=200, interval_us=20_000)
SMALL = Load(connections=50, requests=80, tokens=0, interval_us=25_000)
QUICK = Plan(
    Load(connections=20, requests=1, tokens=20, interval_us=20_000),
    Load(connections=10, requests=10, tokens=0, interval_us=20_000),
    rounds=1,
)
# What a proxy can carry that needs a core for some hundred tokens a second, and ten requests.
_LIGHT = Plan(
    Load(connections=10, requests=1, tokens=60, interval_us=100_000),
    Load(connections=4, requests=5, tokens=0, interval_us=1_000_000),
    rounds=1,
)


def _measure(context: Context) -> Data:
    plan = QUICK if context.quick else Plan(STREAM, SMALL, context.rounds)
    samples = []
    light = context.named(LITELLM)
    for peers, its_plan in (
        ([peer for peer in context.peers if peer not in light], plan),
        (light, _LIGHT),
    ):
        numbers = (0,) if peers is light else context.repeats()
        with context.losing("side by side"):
            samples += run_rounds(peers, its_plan, context.say, context.lose, numbers)
    return {"plan": asdict(plan), "samples": [asdict(sample) for sample in samples]}


def results_of(data: Data) -> report.Results:
    """Return the samples of a record."""
    return report.Results(
        Sample(
            **{
                **fields,
                "stream": Use(**fields["stream"]),
                "small": Use(**fields["small"]),
            }
        )
        for fields in data["samples"]
    )


def _section(data: Data) -> str:
    plan = data["plan"]
    load = report.describe_plan(Plan(Load(**plan["stream"]), Load(**plan["small"]), plan["rounds"]))
    results = results_of(data)
    parts = [f"{load}. Whole requests, their begin and end included.", report.table(results)]
    if LITELLM in results.by_peer:
        parts.append(
            f"{LITELLM} writes every record anew and cannot carry this load: it was given "
            f"{_LIGHT.stream.connections} streams at {1e6 / _LIGHT.stream.interval_us:g} tokens/s "
            f"and {_LIGHT.small.connections} small requests a second."
        )
    sound = "\n".join(f"- {check.line()}" for check in report.harness_checks(results))
    return "\n\n".join([*parts, f"Is the bench itself sound:\n\n{sound}"])


def _checks(data: Data) -> list[Check]:
    results = results_of(data)
    ours = report.judged_build(results)
    checks = report.budget_checks(results)
    for name, figure in (("p50", report.token_p50_ms), ("p99", report.token_p99_ms)):
        mine, theirs = results.added(ours, figure), results.added(NGINX, figure)
        # Below a hundredth of a millisecond it is the scatter of the direct connection.
        usable = mine is not None and theirs is not None and theirs.median > 0.01
        ratio = mine.median / theirs.median if mine and theirs and usable else None
        checks.append(Check(f"added latency {name} / nginx", ratio, 1.5, 1.1))
    return checks


PART = Part(
    "side",
    "Side by side",
    _measure,
    _section,
    _checks,
    minutes=4,
)
