"""Series as a proxy exports them, in promtool's notation: one sample a minute."""

from __future__ import annotations

from typing import Any

PER_MINUTE = 10_000  # so that one request in a thousand is a whole number
Samples = dict[str, str]
LAG = ("0.005", "0.01", "0.025", "0.05", "0.1", "+Inf")


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
