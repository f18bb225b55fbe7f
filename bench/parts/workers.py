"""Two workers beside one process: see bench/workers.py."""

from __future__ import annotations

from bench import workers
from bench.report import Check

from .part import Context, Data, Part, table


def _measure(context: Context) -> Data:
    return workers.measure(context.repeats(), context.say)


def _section(data: Data) -> str:
    rows = [
        [name, f"{cost['token']:.1f}", f"{cost['small']:.0f}"]
        for name, cost in data["costs"].items()
    ]
    ratios = [
        [
            what,
            f"{workers.ratio(data['costs'], unit):.2f}",
            f"{workers.ratio(data['costs'], unit, shared=True):.2f}",
        ]
        for what, unit in (("tokens", "token"), ("small requests", "small"))
    ]
    about = (
        "Processor time at the same load for each process. That two workers carry more follows "
        "from it, and was not tried: with two cores none is left for the load."
    )
    costs = table(["processes", "us per token", "us per small request"], rows)
    head = ["two workers / one process", "with cores of their own", "supervisor among them"]
    return "\n\n".join([about, costs, table(head, ratios)])


def _checks(data: Data) -> list[Check]:
    return [
        Check(
            "two workers on two cores / one worker, tokens",
            workers.ratio(data["costs"], "token", shared=True),
            1.7,
            1.9,
            at_least=True,
        )
    ]


PART = Part("workers", "Two workers", _measure, _section, _checks, minutes=1)
