"""The rules: each alert fires where it should, and stays silent where it should.

Series are those of the proxy, one sample a minute; Prometheus' own promtool evaluates the file that
ships. Each case has a job of its own, so that one run sees many.
"""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from goodput_proxy.faults import UpstreamFault
from tests.deploy.promtool import ROOT, RULES, alerts, promtool, run_rules

if TYPE_CHECKING:
    from pathlib import Path

RUNBOOKS = ROOT / "docs" / "runbooks"
OBJECTIVES = (0.5, 0.9, 0.95, 0.99, 0.999)
PER_MINUTE = 10_000  # so that one request in a thousand is a whole number
# How each of the three burn alerts is told from the others, by its long window.
FAST, SLOW, TICKET = "1h", "6h", "3d"


def requests(
    job: str, good: str = "0x300", slow: str = "0x300", *, objective: float = 0.9
) -> dict[str, str]:
    """Return the series of a proxy that judges requests, in promtool's notation."""
    target = f'job="{job}",instance="{job}:9001",slo="default"'
    samples = {"good": good, "slow": slow, "error": "0x300", "client_error": "0+50x300"}
    return {
        f"goodput_slo_objective_ratio{{{target}}}": f"{objective}x300",
        f"goodput_slo_compliant_requests_total{{{target}}}": good,
        **{
            f'goodput_requests_total{{{target},model="m",verdict="{verdict}"}}': values
            for verdict, values in samples.items()
        },
    }


def steady(bad_share: float, minutes: int = 300) -> tuple[str, str]:
    """Return the good and the slow of traffic of which always the same share is bad."""
    bad = round(bad_share * PER_MINUTE)
    return f"0+{PER_MINUTE - bad}x{minutes}", f"0+{bad}x{minutes}"


def firing(at: str, by: str, alert: str, *expected: str) -> dict[str, Any]:
    """Return an expectation: the alerts of a name that fire, by labels."""
    samples = [{"labels": f"{{{labels}}}", "value": 1} for labels in expected]
    selector = f'ALERTS{{alertname=~"{alert}",alertstate="firing"}}'
    return {"expr": f"count by ({by}) ({selector})", "eval_time": at, "exp_samples": samples}


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


def test_the_file_fits_into_a_resource_of_the_operator() -> None:
    """The command of the page that makes a PrometheusRule of it gives the same rules."""
    page = (ROOT / "docs" / "alerting.md").read_text()
    (command,) = re.findall(r"```console\n\$ (\{ cat.*?) \| kubectl apply", page, re.DOTALL)
    done = subprocess.run(
        ["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, check=True
    )
    resource = yaml.safe_load(done.stdout)

    assert resource["kind"] == "PrometheusRule"
    assert resource["spec"] == yaml.safe_load(RULES.read_text())


def test_the_page_lists_every_alert() -> None:
    """docs/alerting.md has a row for each alert, with its severities."""
    page = (ROOT / "docs" / "alerting.md").read_text()
    rows = re.findall(r"^\| \[(\w+)\]\(runbooks/\1\.md\) \| ([a-z, ]+) \|", page, re.MULTILINE)
    severities: dict[str, set[str]] = {}
    for rule in alerts():
        severities.setdefault(rule["alert"], set()).add(rule["labels"]["severity"])

    assert {alert: set(told.split(", ")) for alert, told in rows} == severities


# -- the error budget

# By objective and steady share of bad requests: which burn alerts fire.
BURNS: dict[tuple[float, float], set[str]] = {
    (0.5, 0.0): set(),
    (0.5, 0.45): set(),
    (0.5, 0.6): {TICKET},
    (0.5, 0.95): {FAST, SLOW, TICKET},
    (0.9, 0.05): set(),
    (0.9, 0.2): {TICKET},
    (0.9, 0.7): {SLOW, TICKET},
    (0.9, 0.95): {FAST, SLOW, TICKET},
    (0.95, 0.04): set(),
    (0.95, 0.2): {TICKET},
    (0.95, 0.5): {SLOW, TICKET},
    (0.95, 0.8): {FAST, SLOW, TICKET},
    (0.99, 0.005): set(),
    (0.99, 0.05): {TICKET},
    (0.99, 0.1): {SLOW, TICKET},
    (0.99, 0.2): {FAST, SLOW, TICKET},
    (0.999, 0.0005): set(),
    (0.999, 0.002): {TICKET},
    (0.999, 0.01): {SLOW, TICKET},
    (0.999, 0.02): {FAST, SLOW, TICKET},
}


def test_a_budget_that_burns_faster_alerts_louder(tmp_path: Path) -> None:
    """At each objective: nothing within the promise, then a ticket, then one page, then two."""
    series: dict[str, str] = {}
    expected = []
    for (objective, share), windows in BURNS.items():
        job = f"{objective}/{share}"
        series |= requests(job, *steady(share), objective=objective)
        expected += [f'job="{job}",window="{window}"' for window in windows]
    burn = firing("80m", "job, window", "GoodputErrorBudgetBurn", *expected)

    run_rules(tmp_path, series, expected=[burn])


@pytest.mark.parametrize(
    ("objective", "minutes"), [(0.5, 58), (0.9, 58), (0.95, 47), (0.99, 12), (0.999, 4)]
)
def test_every_request_bad_pages(tmp_path: Path, objective: float, minutes: int) -> None:
    """After hours in which all was well the budget pages within the hour, at any objective."""
    good_until = 180
    end = good_until + minutes
    series = requests(
        "j",
        good=f"0+{PER_MINUTE}x{good_until} {PER_MINUTE * good_until}x{minutes}",
        slow=f"0x{good_until} {PER_MINUTE}+{PER_MINUTE}x{minutes}",
        objective=objective,
    )
    page = f'window="{FAST}",severity="critical"'
    before = firing(f"{good_until}m", "alertname", "GoodputErrorBudget.*|GoodputCollapsed")
    after = firing(f"{end}m", "window, severity", "GoodputErrorBudgetBurn", page)

    run_rules(tmp_path, series, expected=[before, after])


def test_nothing_but_bad_requests_pages_from_the_start(tmp_path: Path) -> None:
    """Where no request ever was good the alerts fire, too: a new deployment may be broken."""
    series: dict[str, str] = {}
    pages = []
    for objective in OBJECTIVES:
        series |= requests(f"{objective}", *steady(1.0, 60), objective=objective)
        pages.append(f'job="{objective}",severity="critical"')
    expected = [
        firing("12m", "job, severity", alert, *pages)
        for alert in ("GoodputErrorBudgetBurn", "GoodputCollapsed")
    ]

    run_rules(tmp_path, series, expected=expected)


def test_a_handful_of_requests_pages_nobody(tmp_path: Path) -> None:
    """Nine bad requests in an hour are no ground to wake anybody; ten are."""
    series = requests("few", slow="0+1x9 9x60") | requests("some", slow="0+1x13 13x60")
    page = firing("13m", "job", "GoodputErrorBudgetBurn", 'job="some"')

    run_rules(tmp_path, series, expected=[page])


def test_the_short_window_ends_a_page(tmp_path: Path) -> None:
    """Minutes after the cause has ended the page has, though its hour still looks bad."""
    good = f"0x50 {PER_MINUTE}+{PER_MINUTE}x60"
    slow = f"0+{PER_MINUTE}x50 {50 * PER_MINUTE}x60"
    page = 'window="1h"'
    expected = [
        firing("50m", "window", "GoodputErrorBudgetBurn", page, 'window="6h"'),
        firing("56m", "window", "GoodputErrorBudgetBurn", 'window="6h"'),
    ]

    run_rules(tmp_path, requests("j", good=good, slow=slow), expected=expected)


def test_the_budget_is_weighted_by_requests(tmp_path: Path) -> None:
    """A bad hour with much traffic costs more than good ones with little can bring back.

    100 requests a minute for an hour, half of them bad, then one a minute for two hours: 3000 of
    6120 are bad, 0.49. Averaged over time it would be 0.17.
    """
    good = "0+50x60 3001+1x120"
    slow = "0+50x60 3000x120"
    ratio = "namespace_job_slo:goodput_requests_bad_per_judged:ratio_rate30d"
    left = "namespace_job_slo:goodput_error_budget_left:ratio_rate30d"
    labels = '{job="j",slo="default"}'
    expected = [
        {
            "expr": f"round({ratio}, 0.01)",
            "eval_time": "180m",
            "exp_samples": [{"labels": labels, "value": 0.49}],
        },
        {
            "expr": f"round({left}, 0.1)",
            "eval_time": "180m",
            "exp_samples": [{"labels": labels, "value": 0.2}],  # 1 - 0.49 / 0.6
        },
    ]

    run_rules(tmp_path, requests("j", good=good, slow=slow, objective=0.4), expected=expected)


def test_goodput_away_from_throughput(tmp_path: Path) -> None:
    """Less than half of what was promised in time collapses; failures are not answers."""
    share = {"fine": 0.5, "gone": 0.6}  # of 0.9 half is 0.45
    series: dict[str, str] = {}
    for job, bad in share.items():
        series |= requests(job, *steady(bad, 30))
    target = 'job="failing",instance="i",slo="default"'
    series |= requests("failing", good="0+20x30")
    series[f'goodput_requests_total{{{target},model="m",verdict="error"}}'] = "0+1000x30"
    collapsed = firing("20m", "job", "GoodputCollapsed", 'job="gone"')

    run_rules(tmp_path, series, expected=[collapsed])


# -- the proxy

Samples = dict[str, str]
LAG = ("0.005", "0.01", "0.025", "0.05", "0.1", "+Inf")


def name(metric: str, **labels: str) -> str:
    """Return a series of an instance, whose job is yet to be named."""
    pairs = ",".join(f'{label}="{value}"' for label, value in labels.items())
    return f"{metric}{{{pairs}}}"


def of_job(job: str, case: Samples) -> Samples:
    """Return the series of a case as those of a job."""
    target = f'{{instance="i",job="{job}",'
    return {series.replace("{", target, 1): values for series, values in case.items()}


def lag(seconds: float) -> Samples:
    """Return the series of an event loop that is late by so much; the limit is 100 ms."""
    bucket, limit = "goodput_event_loop_lag_seconds_bucket", "goodput_slo_threshold_seconds"
    return {
        **{name(bucket, le=le): f"0+{240 * (seconds <= float(le))}x300" for le in LAG},
        name(limit, slo="default", dimension="itl"): "0.1x300",
        name(limit, slo="default", dimension="e2e"): "30x300",
    }


def counts(judged: int, **others: int) -> Samples:
    """Return counters that rise by so much a minute; `others` are `metric__label__value`."""
    series = {name("goodput_requests_total", verdict="good"): f"0+{judged}x300"}
    for key, rise in others.items():
        metric, label, value = key.split("__")
        series[name(f"goodput_{metric}_total", **{label: value})] = f"0+{rise}x300"
    return series


def gauges(**values: str) -> Samples:
    """Return gauges by name."""
    return {name(metric): samples for metric, samples in values.items()}


# By alert: series with which it fires, series with which it does not.
CASES: dict[str, tuple[list[Samples], list[Samples]]] = {
    "GoodputProxyDown": (
        [gauges(goodput_build_info="1x20 _x40", up="1x20 0x40")],
        [
            gauges(goodput_build_info="1x60", up="1x60"),
            gauges(up="0x60"),  # somebody else's
            gauges(goodput_build_info="1x20 _x40", up="1x20 _x40"),  # scaled down
        ],
    ),
    "GoodputMeterDefect": (
        [counts(100, tap_errors__reason__internal=1)],
        [counts(100, tap_errors__reason__internal=0), counts(100, tap_errors__reason__bad_json=50)],
    ),
    "GoodputMeterErrors": (
        [counts(100, tap_errors__reason__bad_json=6, tap_errors__reason__content_type=1)],
        [
            counts(100, tap_errors__reason__bad_json=4),
            counts(0, tap_errors__reason__bad_json=0),
        ],
    ),
    "GoodputTrafficUnclassified": (
        [
            counts(100, passthrough_requests__kind__other=40),
            counts(0, passthrough_requests__kind__other=40),
            counts(100, passthrough_requests__kind__unmeasured=40),
        ],
        [
            counts(100, passthrough_requests__kind__other=30),
            counts(100, passthrough_requests__kind__health=400),
            counts(0, passthrough_requests__kind__other=0),
        ],
    ),
    "GoodputProxySaturated": ([lag(0.03), lag(0.5)], [lag(0.002), lag(0.02)]),
    "GoodputConfigReloadFailed": (
        [gauges(goodput_config_last_reload_successful="1x20 0x40")],
        [
            gauges(goodput_config_last_reload_successful="1x60"),
            gauges(goodput_config_last_reload_successful="1x50 0x2 1x10"),
        ],
    ),
    "GoodputUpstreamErrors": (
        [
            counts(
                100,
                passthrough_requests__kind__other=0,
                **{f"upstream_errors__reason__{fault}": 1 for fault in UpstreamFault},
            ),
            counts(0, passthrough_requests__kind__other=9, upstream_errors__reason__connect=9),
        ],
        [
            counts(100, passthrough_requests__kind__other=0, upstream_errors__reason__connect=4),
            counts(100, passthrough_requests__kind__other=100, upstream_errors__reason__reset=8),
            counts(0, upstream_errors__reason__connect=0),
        ],
    ),
}


@pytest.mark.parametrize("alert", CASES)
def test_alerts_of_the_proxy(tmp_path: Path, alert: str) -> None:
    """Each fires in every case that it is for, and in no other."""
    series: Samples = {}
    jobs = []
    for kind, cases in zip(("fires", "silent"), CASES[alert], strict=True):
        for number, case in enumerate(cases):
            job = f"{kind}{number}"
            series |= of_job(job, case)
            jobs += [f'job="{job}"'] * (kind == "fires")

    run_rules(tmp_path, series, expected=[firing("55m", "job", alert, *jobs)])


def test_every_alert_is_tested() -> None:
    """No alert ships that no test has seen fire."""
    of_requests = {"GoodputErrorBudgetBurn", "GoodputCollapsed", "GoodputErrorBudgetLow"}

    assert {*CASES, *of_requests, "GoodputAbsent"} == {rule["alert"] for rule in alerts()}


def test_the_budget_warns_before_it_is_spent(tmp_path: Path) -> None:
    """With a tenth of the budget left there is a warning, with a fifth there is none."""
    series = requests("low", *steady(0.092)) | requests("enough", *steady(0.08))
    low = firing("80m", "job", "GoodputErrorBudgetLow", 'job="low"')

    run_rules(tmp_path, series, expected=[low])


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
        up="1x300", goodput_build_info="1x300", goodput_config_last_reload_successful="1x300"
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
