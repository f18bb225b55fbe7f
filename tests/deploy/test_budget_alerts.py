"""Alerts on the error budget: at each objective they fire where they should, and not before.

Prometheus' own promtool evaluates the file that ships. Each case has a job of its own, so that one
run sees many.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.deploy.promtool import run_rules
from tests.deploy.series import PER_MINUTE, firing, requests, steady

if TYPE_CHECKING:
    from pathlib import Path

OBJECTIVES = (0.5, 0.9, 0.95, 0.99, 0.999)
# How each of the three burn alerts is told from the others, by its long window.
FAST, SLOW, TICKET = "1h", "6h", "3d"

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


def test_the_budget_warns_before_it_is_spent(tmp_path: Path) -> None:
    """With a tenth of the budget left there is a warning, with a fifth there is none."""
    series = requests("low", *steady(0.092)) | requests("enough", *steady(0.08))
    low = firing("80m", "job", "GoodputErrorBudgetLow", 'job="low"')

    run_rules(tmp_path, series, expected=[low])
