"""Alerts on the proxy itself: each fires in every case that it is for, and in no other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from goodput_proxy.faults import UpstreamFault
from tests.deploy.promtool import alerts, run_rules
from tests.deploy.series import Samples, counts, firing, gauges, lag, of_job

if TYPE_CHECKING:
    from pathlib import Path

DAY_S = 86_400

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
    "GoodputWorkerDied": (
        [
            gauges(goodput_worker_restarts_total="0x55 1x40"),
            gauges(goodput_worker_restarts_total="0+1x95"),
        ],
        [
            gauges(goodput_worker_restarts_total="0x95"),
            gauges(goodput_worker_restarts_total="0x20 3x75"),  # long ago
            gauges(goodput_worker_restarts_total="5x55 0x40"),  # the proxy itself was started anew
        ],
    ),
    "GoodputRequestsUncounted": (
        [gauges(goodput_worker_lost_requests_total="0x55 800x40")],
        [
            gauges(goodput_worker_lost_requests_total="0x95"),
            gauges(goodput_worker_lost_requests_total="0x20 800x75"),
        ],
    ),
    "GoodputConfigReloadFailed": (
        [gauges(goodput_config_last_reload_successful="1x20 0x40")],
        [
            gauges(goodput_config_last_reload_successful="1x60"),
            gauges(goodput_config_last_reload_successful="1x50 0x2 1x10"),
        ],
    ),
    "GoodputCertificateExpires": (  # promtool's clock begins at 0
        [gauges(goodput_tls_certificate_expiry_timestamp_seconds=f"{6 * DAY_S}x300")],
        [gauges(goodput_tls_certificate_expiry_timestamp_seconds=f"{9 * DAY_S}x300")],
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

    run_rules(tmp_path, series, expected=[firing("65m", "job", alert, *jobs)])


def test_every_alert_is_tested() -> None:
    """No alert ships that no test has seen fire."""
    of_requests = {"GoodputErrorBudgetBurn", "GoodputCollapsed", "GoodputErrorBudgetLow"}

    assert {*CASES, *of_requests, "GoodputAbsent"} == {rule["alert"] for rule in alerts()}
