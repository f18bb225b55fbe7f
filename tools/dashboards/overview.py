"""*Goodput / Overview*: how much of what is answered is in time, and why the rest is not.

This file has the course of things; `promises.py` has what could be promised, and what is left of
the promise.
"""

from __future__ import annotations

from expressions import (
    ANSWERED,
    GOOD,
    JOB,
    NAMESPACE,
    RULES,
    TOKENS,
    burn,
    limit,
    model,
    rate_by,
    ratio,
    slo,
)
from panels import (
    LIMITS,
    Query,
    Row,
    colour,
    dashboard,
    heatmap,
    override,
    quantiles,
    stat,
    steps,
    timeseries,
)
from promises import BUDGET, GROUPS, WHAT_IF

DIMENSIONS = colour({"ttft": "orange", "itl": "purple", "stall": "blue", "e2e": "yellow"})

TILES = Row(
    "Now",
    (
        stat(
            "Goodput ratio",
            "Share of the judged requests that met every limit of their class."
            " Metric: `goodput_slo_compliant_requests_total`.",
            "percentunit",
            ratio("", "$__rate_interval"),
        ),
        stat(
            "Goodput",
            "Requests per second that met every limit."
            " Metric: `goodput_slo_compliant_requests_total`.",
            "reqps",
            "sum(rate(goodput_slo_compliant_requests_total{@slo}[$__rate_interval]))",
        ),
        stat(
            "Throughput",
            "Requests per second that were answered to their end, in time or not."
            " Metric: `goodput_requests_total`.",
            "reqps",
            f"sum(rate(goodput_requests_total{{@slo,{ANSWERED}}}[$__rate_interval]))",
        ),
        stat(
            "Good tokens",
            "Generated tokens per second of requests that met every limit."
            " Metric: `goodput_output_tokens_total`.",
            TOKENS,
            f"sum(rate(goodput_output_tokens_total{{@slo,{GOOD}}}[$__rate_interval]))",
        ),
        stat(
            "Budget left",
            "Of the last 30 days, each request weighing the same; the class with the least."
            f"{RULES} Metric: `namespace_job_slo:goodput_error_budget_left:ratio_rate30d`.",
            "percentunit",
            "min(namespace_job_slo:goodput_error_budget_left:ratio_rate30d{@limit})",
            steps((None, "red"), (0, "orange"), (0.25, "green")),
        ),
        stat(
            "Burn rate, 1 h",
            "How many times as fast as it may the budget was spent in the last hour; the class"
            " that burns most. 1 spends it in 30 days, 14.4 pages."
            f"{RULES} Metric: `namespace_job_slo:goodput_requests_bad_per_judged:ratio_rate1h`.",
            "suffix: x",
            f"max({burn('1h')})",
            steps((None, "green"), (1, "orange"), (6, "red")),
        ),
        stat(
            "In flight",
            "Inference requests that have begun and not ended."
            " Metric: `goodput_requests_in_flight`.",
            "short",
            "sum(goodput_requests_in_flight{@job})",
        ),
        stat(
            "Not judged",
            "Share of requests that are not inference: health checks, lists of models, what is"
            " not known. Metric: `goodput_passthrough_requests_total`.",
            "percentunit",
            """
            sum(rate(goodput_passthrough_requests_total{@job}[$__rate_interval]))
            / (
              sum(rate(goodput_passthrough_requests_total{@job}[$__rate_interval]))
              + sum(rate(goodput_requests_total{@job}[$__rate_interval]))
              > 0
            )
            """,
        ),
    ),
)

GOODPUT = Row(
    "Goodput against throughput",
    (
        timeseries(
            "Goodput against throughput",
            "What is answered, and what is answered in time: requests on the left axis, generated"
            " tokens on the right. The lines part where the server is past its knee."
            " Metrics: `goodput_requests_total`, `goodput_slo_compliant_requests_total`,"
            " `goodput_output_tokens_total`.",
            "reqps",
            Query(
                f"sum(rate(goodput_requests_total{{@slo,{ANSWERED}}}[$__rate_interval]))",
                "throughput",
            ),
            Query(
                "sum(rate(goodput_slo_compliant_requests_total{@slo}[$__rate_interval]))",
                "goodput",
            ),
            Query(
                f"sum(rate(goodput_output_tokens_total{{@slo,{ANSWERED}}}[$__rate_interval]))",
                "tokens",
            ),
            Query(
                f"sum(rate(goodput_output_tokens_total{{@slo,{GOOD}}}[$__rate_interval]))",
                "good tokens",
            ),
            overrides=(
                *colour(
                    {
                        "throughput": "blue",
                        "goodput": "green",
                        "tokens": "light-blue",
                        "good tokens": "light-green",
                    }
                ),
                override(
                    "byRegexp",
                    "/tokens$/",
                    unit=TOKENS,
                    custom_axisPlacement="right",
                    custom_lineStyle={"fill": "dot", "dash": [0, 4]},
                    custom_fillOpacity=0,
                ),
            ),
        ),
        timeseries(
            "Goodput ratio by class",
            "Share of the judged requests that met every limit, and the objective of the class."
            " Metrics: `goodput_slo_compliant_requests_total`, `goodput_slo_objective_ratio`.",
            "percentunit",
            Query(ratio(" by (slo)", "$__rate_interval"), "{{slo}}"),
            Query("max by (slo) (goodput_slo_objective_ratio{@limit})", "objective {{slo}}"),
            overrides=LIMITS,
            max=1,
        ),
    ),
)

CAUSES = Row(
    "Why not good",
    (
        timeseries(
            "Requests by verdict and cause",
            "Every inference request has one verdict, so the areas add up to all of them."
            " Metric: `goodput_requests_total`.",
            "reqps",
            Query(
                rate_by("verdict, cause", "goodput_requests_total{@slo}") + " > 0",
                "{{verdict}} {{cause}}",
            ),
            stacked=True,
            overrides=(
                *(
                    override("byRegexp", f"/^{verdict}/", color=shade)
                    for verdict, shade in (
                        ("good", {"mode": "shades", "fixedColor": "green"}),
                        ("slow", {"mode": "shades", "fixedColor": "orange"}),
                        ("error", {"mode": "shades", "fixedColor": "red"}),
                        ("client_error", {"mode": "shades", "fixedColor": "purple"}),
                        ("cancelled", {"mode": "shades", "fixedColor": "text"}),
                    )
                ),
            ),
        ),
        timeseries(
            "Limits missed",
            "By dimension. One request may miss several, so these do not add up."
            " Metric: `goodput_slo_violations_total`.",
            "reqps",
            Query(
                rate_by("dimension", "goodput_slo_violations_total{@slo}"),
                "{{dimension}}",
            ),
            width=6,
            overrides=DIMENSIONS,
        ),
        timeseries(
            "Clients that left",
            "By how far the answer was. Impatient clients leave before the first token."
            " Metric: `goodput_client_cancels_total`.",
            "reqps",
            Query(
                rate_by("phase", "goodput_client_cancels_total{@slo}"),
                "{{phase}}",
            ),
            width=6,
            stacked=True,
        ),
    ),
)

LATENCY = Row(
    "Latency against its limit",
    (
        quantiles(
            "Time to first token",
            "Request head read to first token of any kind; dashed is the limit of each class."
            " Metric: `goodput_time_to_first_token_seconds`.",
            "goodput_time_to_first_token_seconds",
            limit("ttft"),
            width=8,
        ),
        quantiles(
            "Inter-token latency",
            "The mean of each request, which is what is judged (TPOT); dashed is the limit."
            " Metric: `goodput_inter_token_latency_seconds`.",
            "goodput_inter_token_latency_seconds",
            limit("itl"),
            width=8,
        ),
        quantiles(
            "Request duration",
            "Request head read to last token; dashed is the limit."
            " Metric: `goodput_request_duration_seconds`.",
            "goodput_request_duration_seconds",
            limit("e2e"),
            width=8,
        ),
        heatmap(
            "Time to first token, distribution",
            "Requests per second by time to first token. Two bands are two kinds of request, or a"
            " queue. Metric: `goodput_time_to_first_token_seconds`.",
            "goodput_time_to_first_token_seconds",
        ),
        heatmap(
            "Inter-token latency, distribution",
            "Requests per second by their mean time between tokens."
            " Metric: `goodput_inter_token_latency_seconds`.",
            "goodput_inter_token_latency_seconds",
        ),
        heatmap(
            "Request duration, distribution",
            "Requests per second by duration. Metric: `goodput_request_duration_seconds`.",
            "goodput_request_duration_seconds",
        ),
        quantiles(
            "Longest pause of a request",
            "What a reader notices as a stall; dashed is the limit."
            " Metric: `goodput_stall_seconds`.",
            "goodput_stall_seconds",
            limit("stall"),
        ),
        quantiles(
            "Inter-chunk latency",
            "Every gap between two token records, not judged. A p99 far above the median is a"
            " decode loop that others interrupt. Metric: `goodput_inter_chunk_latency_seconds`.",
            "goodput_inter_chunk_latency_seconds",
        ),
    ),
)

OVERVIEW = dashboard(
    "goodput-overview",
    "Goodput / Overview",
    "How much of what is answered is answered in time, why the rest is not, and what could be"
    " promised instead.",
    [NAMESPACE, JOB, model(), slo()],
    [TILES, GOODPUT, CAUSES, LATENCY, WHAT_IF, GROUPS, BUDGET],
)
