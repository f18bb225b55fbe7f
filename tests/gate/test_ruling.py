"""What is good enough, what is not, and what cannot be told."""

from __future__ import annotations

import pytest

from goodput_proxy.gate.counts import Counts, Observation
from goodput_proxy.gate.ruling import ExitCode, Status, rule
from goodput_proxy.settings import ConfigError


def observed(**classes: tuple[float, float]) -> Observation:
    """Return an observation of classes with so many good and so many slow requests."""
    counts = {
        slo: Counts({("good", ""): float(good), ("slow", "ttft"): float(slow)})
        for slo, (good, slow) in classes.items()
    }
    return Observation("http://x", 60.0, counts, {"default": 0.95, "gold": 0.99, "idle": 0.5})


@pytest.mark.parametrize(
    ("classes", "minimum", "expected"),
    [
        ({"default": (19, 1)}, None, ExitCode.OK),  # 0.95 is not below 0.95
        ({"default": (18, 2)}, None, ExitCode.BELOW),
        ({"default": (18, 2)}, 0.9, ExitCode.OK),
        ({"default": (19, 1)}, 0.96, ExitCode.BELOW),
        ({"default": (20, 0)}, 1.0, ExitCode.OK),
        ({"default": (19, 0)}, None, ExitCode.TOO_FEW),
        ({"default": (0, 19)}, None, ExitCode.TOO_FEW),
        ({"default": (0, 0)}, None, ExitCode.TOO_FEW),
        ({}, None, ExitCode.TOO_FEW),
        # One class cannot hide behind another.
        ({"default": (1000, 0), "gold": (98, 2)}, None, ExitCode.BELOW),
        ({"default": (1000, 0), "gold": (98, 2)}, 0.98, ExitCode.OK),
        # A class that nobody uses stops nothing.
        ({"default": (19, 1), "idle": (0, 0)}, None, ExitCode.OK),
        ({"default": (19, 1), "gold": (0, 19)}, None, ExitCode.OK),
        ({"default": (10, 0), "gold": (10, 0)}, None, ExitCode.TOO_FEW),
    ],
)
def test_exit_code(
    classes: dict[str, tuple[float, float]], minimum: float | None, expected: ExitCode
) -> None:
    """Below if any class is below, no answer if no class can be judged, else well."""
    assert rule(observed(**classes), minimum, 20).exit_code is expected


@pytest.mark.parametrize("factor", [1.0, 1.0526315789, 0.9999999, 1 / 3, 300 / 285])
def test_extrapolation_tips_no_scale(factor: float) -> None:
    """A ratio that is exactly the objective stays so, whatever both of its sides are scaled by."""
    observation = observed(default=(190 * factor, 10 * factor))

    assert rule(observation, None, 20).exit_code is ExitCode.OK


def test_rows() -> None:
    """Every class has its row, by name; the total holds all of them."""
    ruling = rule(observed(gold=(98, 2), default=(19, 1), idle=(3, 0)), None, 20)

    assert [(row.slo, row.minimum, row.status) for row in ruling.rows] == [
        ("default", 0.95, Status.OK),
        ("gold", 0.99, Status.BELOW),
        ("idle", 0.5, Status.TOO_FEW),
    ]
    assert (ruling.total.judged, ruling.total.good) == (123, 120)


def test_nothing_to_compare_with() -> None:
    """A class whose objective is unknown needs `--min`, and the line says so."""
    with pytest.raises(ConfigError, match=r"^min: http://x knows no objective of class 'new'$"):
        rule(observed(new=(20, 0)), None, 20)
    assert rule(observed(new=(20, 0)), 0.9, 20).exit_code is ExitCode.OK
