"""What several panels ask: PromQL and the variables that it is asked with."""

from __future__ import annotations

from panels import Json, Query, variable

JUDGED = 'verdict=~"good|good_partial|slow|error"'
ANSWERED = 'verdict=~"good|good_partial|slow"'
GOOD = 'verdict=~"good|good_partial"'
TOKENS = "suffix: tok/s"
RULES = " Needs the recording rules of prometheus/rules.yaml."

NAMESPACE = variable("namespace", "Namespace", "label_values(goodput_build_info, namespace)")
JOB = variable("job", "Job", 'label_values(goodput_build_info{namespace=~"$namespace"}, job)')


def model(*, hidden: bool = False) -> Json:
    """Return the variable of models; where it chooses nothing it is carried along unseen."""
    query = "label_values(goodput_requests_total{@job}, model)"
    return variable("model", "Model", query, hidden=hidden)


def slo(*, hidden: bool = False) -> Json:
    """Return the variable of SLO classes."""
    return variable(
        "slo", "SLO class", "label_values(goodput_slo_objective_ratio{@job}, slo)", hidden=hidden
    )


def limit(dimension: str) -> Query:
    """Return the configured limit as a line."""
    expr = f'max by (slo) (goodput_slo_threshold_seconds{{@limit,dimension="{dimension}"}})'
    return Query(expr, "limit {{slo}}")


def ratio(by: str, window: str, more: str = "") -> str:
    """Return goodput over judged requests."""
    return f"""
        sum{by} (rate(goodput_slo_compliant_requests_total{{@slo{more}}}[{window}]))
        / (sum{by} (rate(goodput_requests_total{{@slo,{JUDGED}{more}}}[{window}])) > 0)
    """


def burn(window: str) -> str:
    """Return how many times as fast as it may the budget of a class was spent."""
    share = f"namespace_job_slo:goodput_requests_bad_per_judged:ratio_rate{window}{{@limit}}"
    return f"{share} / (1 - namespace_job_slo:goodput_slo_objective_ratio:max{{@limit}})"


def rate_by(labels: str, counter: str) -> str:
    """Return a counter's rate by labels."""
    return f"sum by ({labels}) (rate({counter}[$__rate_interval]))"
