"""The policy in force, as metrics: rules and dashboards read limits and objectives from these."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .policy import Policy


class Thresholds(Collector):
    """Limits and objectives; a scrape sees one policy, never half of two.

    Args:
        policy: the first.
    """

    def __init__(self, policy: Policy) -> None:
        self.policy = policy

    def describe(self) -> Iterable[GaugeMetricFamily]:
        """Return both families without samples."""
        return [
            GaugeMetricFamily(
                "goodput_slo_threshold_seconds", "Configured limits.", labels=("slo", "dimension")
            ),
            GaugeMetricFamily(
                "goodput_slo_objective_ratio",
                "Configured share of requests that must meet all limits.",
                labels=("slo",),
            ),
        ]

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Return both families; safe to call from another thread."""
        threshold, objective = self.describe()
        for slo in self.policy.classes:
            objective.add_metric((slo.name,), slo.objective)
            for dimension, limit_ns in slo.limits.items():
                threshold.add_metric((slo.name, dimension), limit_ns / 10**9)
        return [threshold, objective]
