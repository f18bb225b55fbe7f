"""Running promtool on series that a test writes down, and what the project's rule file holds."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from tests.conftest import require_program

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "prometheus" / "rules.yaml"


def all_rules() -> list[dict[str, Any]]:
    """Return every rule of the file, of all groups in order."""
    groups: list[dict[str, Any]] = yaml.safe_load(RULES.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def recorded() -> set[str]:
    """Return the names of what the rules record."""
    return {rule["record"] for rule in all_rules() if "record" in rule}


def alerts() -> list[dict[str, Any]]:
    """Return the alerting rules."""
    return [rule for rule in all_rules() if "alert" in rule]


def promtool(*arguments: str | Path) -> str:
    """Run promtool, which must succeed, and return what it says."""
    command = [require_program("promtool"), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def run_rules(
    directory: Path,
    series: Mapping[str, str],
    *,
    expected: Iterable[Mapping[str, Any]] = (),
    expected_alerts: Iterable[Mapping[str, Any]] = (),
) -> None:
    """Let promtool evaluate the project's rules once a minute over series of one-minute samples.

    Args:
        directory: for the file that promtool reads.
        series: samples by series, in promtool's notation.
        expected: items of its `promql_expr_test`.
        expected_alerts: items of its `alert_rule_test`.
    """
    test = {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": list(expected),
        "alert_rule_test": list(expected_alerts),
    }
    path = directory / "rules_test.yaml"
    content = {"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": [test]}
    path.write_text(yaml.safe_dump(content))
    promtool("test", "rules", path)
