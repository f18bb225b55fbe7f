"""The table is for people, the JSON for programs; both say the same."""

from __future__ import annotations

import json

import pytest

from goodput_proxy.gate.counts import Counts, Observation
from goodput_proxy.gate.report import render_json, render_table
from goodput_proxy.gate.ruling import rule

OBSERVATION = Observation(
    "http://127.0.0.1:9001",
    60.0,
    {
        "default": Counts({("good", ""): 90.0, ("good_partial", ""): 4.0, ("error", "empty"): 2.0}),
        "gold": Counts({("good", ""): 94.9999, ("slow", "ttft"): 4.0001, ("slow", "itl"): 1.0}),
        "idle": Counts({("good", ""): 0.0}),
    },
    {"default": 0.95, "gold": 0.95, "idle": 0.95},
)


TABLE = """\
class    requests  goodput/s  throughput/s   ratio     min           not good
default        96       1.57          1.57  97.91%  95.00%  ok       error:empty 2
gold          100       1.58          1.67  94.99%  95.00%  BELOW    slow:ttft 4 slow:itl 1
idle            0       0.00          0.00       -  95.00%  too few
all           196       3.15          3.23  96.42%       -           TOTAL

below: gold 94.99% < 95.00%: 60 s at http://127.0.0.1:9001""".replace(
    "TOTAL", "slow:ttft 4 error:empty 2 slow:itl 1"
)


def test_table() -> None:
    """A line for each class and one for all; a ratio below its minimum never looks like it."""
    assert render_table(OBSERVATION, rule(OBSERVATION, None, 20), 20) == TABLE


WHERE = "60 s at http://127.0.0.1:9001"


@pytest.mark.parametrize(
    ("minimum", "min_requests", "conclusion"),
    [
        (0.5, 20, f"ok: {WHERE}"),
        (None, 999, f"too few requests to judge, fewer than 999 in every class: {WHERE}"),
        (0.99, 20, f"below: default 97.91% < 99.00%, gold 94.99% < 99.00%: {WHERE}"),
    ],
)
def test_conclusion(minimum: float | None, min_requests: int, conclusion: str) -> None:
    """The last line says in words what the exit code says."""
    ruling = rule(OBSERVATION, minimum, min_requests)

    assert render_table(OBSERVATION, ruling, min_requests).splitlines()[-1] == conclusion


def test_json() -> None:
    """Numbers are whole, a ratio that does not exist is null."""
    said = json.loads(render_json(OBSERVATION, rule(OBSERVATION, None, 20)))

    assert (said["ok"], said["exit_code"], said["note"]) == (False, 1, "")
    assert (said["source"], said["window_seconds"]) == ("http://127.0.0.1:9001", 60.0)
    default, gold, idle = said["classes"]
    assert default == {
        "slo": "default",
        "status": "ok",
        "min": 0.95,
        "requests": 96.0,
        "goodput_per_second": 94 / 60,
        "throughput_per_second": 94 / 60,
        "ratio": 94 / 96,
        "verdicts": {"error": 2.0, "good": 90.0, "good_partial": 4.0},
        "causes": {"error:empty": 2.0},
    }
    assert (gold["status"], gold["ratio"]) == ("below", pytest.approx(0.949999))
    assert (idle["status"], idle["ratio"]) == ("too_few", None)
    assert said["all"]["requests"] == 196.0
