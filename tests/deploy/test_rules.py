"""The rule file as a whole: what it must say, and when it must say nothing."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.deploy.promtool import ROOT, RULES, alerts, promtool, run_rules
from tests.deploy.series import counts, firing, gauges, lag, of_job, requests, steady

if TYPE_CHECKING:
    from pathlib import Path

RUNBOOKS = ROOT / "docs" / "runbooks"
OBJECTIVES = (0.5, 0.9, 0.95, 0.99, 0.999)


# -- the file


def test_promtool_accepts_the_file() -> None:
    """The file is one that Prometheus loads, without a rule that is there twice."""
    assert "rules found" in promtool("check", "rules", "--lint=all", "--lint-fatal", RULES)


@pytest.mark.parametrize("rule", alerts(), ids=lambda rule: rule["alert"])
def test_an_alert_says_what_to_do(rule: dict[str, Any]) -> None:
    """Each has a severity, a sentence, a description with values, and a page that helps."""
    annotations = rule["annotations"]
    page = ROOT / annotations["runbook"]

    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert annotations["summary"].endswith(".")
    assert "{{" not in annotations["summary"]
    assert annotations["description"].endswith(".")
    assert page == RUNBOOKS / f"{rule['alert']}.md"
    prose = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    assert re.findall(r"^#+ .*", prose, re.MULTILINE) == [
        f"# {rule['alert']}",
        "## What it means",
        "## What to look at",
        "## What to do",
    ]


def test_every_runbook_belongs_to_an_alert() -> None:
    """A page whose alert is gone goes with it."""
    assert {page.stem for page in RUNBOOKS.glob("*.md")} == {rule["alert"] for rule in alerts()}


def test_the_page_lists_every_alert() -> None:
    """docs/alerting.md has a row for each alert, with its severities."""
    page = (ROOT / "docs" / "alerting.md").read_text()
    rows = re.findall(r"^\| \[(\w+)\]\(runbooks/\1\.md\) \| ([a-z, ]+) \|", page, re.MULTILINE)
    severities: dict[str, set[str]] = {}
    for rule in alerts():
        severities.setdefault(rule["alert"], set()).add(rule["labels"]["severity"])

    assert {alert: set(told.split(", ")) for alert, told in rows} == severities


# -- nothing to say


def test_an_idle_proxy_fires_nothing(tmp_path: Path) -> None:
    """Without traffic every share is undefined, and an undefined share is no alarm."""
    series: dict[str, str] = {}
    for objective in OBJECTIVES:
        series |= requests(f"{objective}", objective=objective)
    still = counts(
        0,
        tap_errors__reason__internal=0,
        tap_errors__reason__bad_json=0,
        passthrough_requests__kind__other=0,
        upstream_errors__reason__connect=0,
    )
    alive = gauges(
        up="1x300",
        goodput_build_info="1x300",
        goodput_config_last_reload_successful="1x300",
        goodput_worker_restarts_total="0x300",
        goodput_worker_lost_requests_total="0x300",
    )
    series |= of_job("idle", {**still, **alive, **lag(0.001)})

    run_rules(tmp_path, series, expected=[firing("80m", "alertname", ".*")])


def test_no_proxy_at_all_is_told(tmp_path: Path) -> None:
    """Where nothing is scraped the one alert about that fires, and no other."""
    absent = firing("20m", "alertname", ".*", 'alertname="GoodputAbsent"')

    run_rules(tmp_path, {'up{job="other"}': "1x30"}, expected=[absent])


# -- what is said


def test_annotations_tell_values_and_places(tmp_path: Path) -> None:
    """A description names class, job, namespace where there is one, and the value."""
    series = {
        line.replace('job="j"', 'job="j",namespace="ml"'): values
        for line, values in requests("j", *steady(1.0, 30)).items()
    }
    series |= of_job("j", lag(0.03))
    late = "The event loop of i of job j is late by 49.75ms at the 99th percentile."
    bad = "100% of the requests"
    told = {
        "GoodputErrorBudgetBurn": (
            {"namespace": "ml", "slo": "default", "severity": "critical", "window": "1h"},
            "Requests miss their SLO much faster than the objective allows.",
            f"{bad} of class default of job j in ml were slow or failed in the last hour.",
        ),
        "GoodputProxySaturated": (
            {"instance": "i", "severity": "warning"},
            "A goodput-proxy is short of CPU and delays what it forwards.",
            f"{late} Tokens wait for it, and the times that it measures include the wait.",
        ),
    }
    expected = [
        {
            "alertname": alert,
            "eval_time": "15m",
            "exp_alerts": [
                {
                    "exp_labels": {"job": "j", **labels},
                    "exp_annotations": {
                        "summary": summary,
                        "description": description,
                        "runbook": f"docs/runbooks/{alert}.md",
                    },
                }
            ],
        }
        for alert, (labels, summary, description) in told.items()
    ]

    run_rules(tmp_path, series, expected_alerts=expected)
