"""The overview's lower half: limits that could be kept, who keeps them, and the error budget."""

from __future__ import annotations

from expressions import ANSWERED, GOOD, JUDGED, RULES, TOKENS, burn, ratio
from panels import Panel, Query, Row, override, steps, table, timeseries, transform

FRONTIER_EXPR = f"""
    sum by (ttft_le, itl_le) (
      increase(goodput_frontier_requests_total{{@model,ttft_le!="+Inf",itl_le!="+Inf"}}[$__range])
    )
    / on () group_left ()
    (sum(increase(goodput_requests_total{{@model,{JUDGED}}}[$__range])) > 0)
"""

WHAT_IF = Row(
    "What could be promised",
    (
        table(
            "Goodput ratio of other limits",
            "Over the time range: the share of judged requests that were within a TTFT (row, in"
            " seconds) and a mean ITL (column, in seconds) at once, whatever their class had"
            " promised. The class is not chosen here, as the grid does not know it."
            " Metric: `goodput_frontier_requests_total`.",
            "percentunit",
            Query(FRONTIER_EXPR),
            width=14,
            # As numbers, or 0.1 would stand before 0.02; columns come in the order of rows.
            transformations=(
                transform(
                    "convertFieldType",
                    fields={},
                    conversions=[
                        {"targetField": edge, "destinationType": "number"}
                        for edge in ("ttft_le", "itl_le")
                    ],
                ),
                transform("sortBy", fields={}, sort=[{"field": "itl_le"}]),
                transform(
                    "groupingToMatrix",
                    columnField="itl_le",
                    rowField="ttft_le",
                    valueField="Value",
                ),
                transform("sortBy", fields={}, sort=[{"field": "ttft_le\\itl_le"}]),
            ),
            overrides=(
                override(
                    "byName",
                    "ttft_le\\itl_le",
                    unit="s",
                    displayName="TTFT \\ ITL",
                    custom_cellOptions={"type": "auto"},
                ),
            ),
            custom={
                "align": "auto",
                "cellOptions": {"type": "color-background", "mode": "basic"},
                "minWidth": 60,
            },
            color={"mode": "continuous-RdYlGr"},
            decimals=0,
            min=0,
            max=1,
        ),
        Panel(
            "barchart",
            "Goodput ratio by requests in flight",
            "Over the time range: of the requests that arrived with so many in flight (bands that"
            " double, named by their upper end), the share that was good. Where it falls is the"
            " knee. A bar over few requests says little."
            " Metrics: `goodput_load_requests_total`, `goodput_load_band_requests`.",
            "percentunit",
            (
                Query(
                    """
                    sum by (in_flight) (
                      increase(goodput_load_requests_total{@slo,compliant="true"}[$__range])
                    )
                    / (
                      sum by (in_flight) (increase(goodput_load_requests_total{@slo}[$__range]))
                      > 0
                    )
                    """
                ),
                Query(
                    "sum by (in_flight) (increase(goodput_load_requests_total{@slo}[$__range])) > 0"
                ),
                Query("max by (in_flight) (goodput_load_band_requests{@job})"),
            ),
            width=10,
            height=9,
            shape="table",
            defaults={
                "color": {"mode": "palette-classic"},
                "custom": {"fillOpacity": 80, "lineWidth": 0},
                "min": 0,
                "noValue": "No traffic",
            },
            overrides=(
                override(
                    "byName",
                    "requests",
                    unit="short",
                    custom_axisPlacement="right",
                    custom_fillOpacity=20,
                ),
                override("byName", "goodput ratio", max=1),
            ),
            options={
                "groupWidth": 0.8,
                "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
                "orientation": "vertical",
                "showValue": "never",
                "stacking": "none",
                "tooltip": {"mode": "multi", "sort": "none"},
                "xField": "in_flight",
            },
            transformations=(
                transform("merge"),
                transform("sortBy", fields={}, sort=[{"field": "Value #C"}]),
                transform(
                    "organize",
                    excludeByName={"Time": True, "Value #C": True},
                    indexByName={"in_flight": 0, "Value #A": 1, "Value #B": 2},
                    renameByName={"Value #A": "goodput ratio", "Value #B": "requests"},
                ),
            ),
        ),
    ),
)


def by_group(group: str, label: str, *, filters: bool) -> Panel:
    """Return a table of what matters by model or by instance, over the time range."""
    window = "$__range"

    def p95(metric: str) -> str:
        rates = f"sum by ({group}, le) (rate({metric}_bucket{{@slo}}[{window}]))"
        return f"histogram_quantile(0.95, {rates})"

    columns = {
        "Throughput": (
            f"sum by ({group}) (rate(goodput_requests_total{{@slo,{ANSWERED}}}[{window}]))",
            "reqps",
        ),
        "Goodput": (
            f"sum by ({group}) (rate(goodput_slo_compliant_requests_total{{@slo}}[{window}]))",
            "reqps",
        ),
        "Goodput ratio": (ratio(f" by ({group})", window), "percentunit"),
        "Good tokens": (
            f"sum by ({group}) (rate(goodput_output_tokens_total{{@slo,{GOOD}}}[{window}]))",
            TOKENS,
        ),
        "Errors": (
            f'sum by ({group}) (rate(goodput_requests_total{{@slo,verdict="error"}}[{window}]))',
            "reqps",
        ),
        "TTFT p95": (p95("goodput_time_to_first_token_seconds"), "s"),
        "ITL p95": (p95("goodput_inter_token_latency_seconds"), "s"),
    }
    letters = dict(zip(columns, "ABCDEFG", strict=True))
    link = {
        "title": "Only this one",
        "url": "/d/goodput-overview?${datasource:queryparam}&${namespace:queryparam}"
        "&${job:queryparam}&${slo:queryparam}&var-model=${__value.raw}&${__url_time_range}",
    }
    return table(
        f"By {group}",
        f"Over the time range, one line a{'n' if group[0] in 'aeiou' else ''} {group}"
        f"{'; a click on a name chooses it' if filters else ''}."
        " Metrics: `goodput_requests_total`, `goodput_slo_compliant_requests_total`,"
        " `goodput_output_tokens_total`, `goodput_time_to_first_token_seconds`,"
        " `goodput_inter_token_latency_seconds`.",
        "short",
        *(Query(expr) for expr, _ in columns.values()),
        width=12,
        transformations=(
            transform("merge"),
            transform(
                "organize",
                excludeByName={"Time": True},
                indexByName={
                    group: 0,
                    **{f"Value #{letter}": i + 1 for i, letter in enumerate(letters.values())},
                },
                renameByName={
                    group: label,
                    **{f"Value #{letter}": title for title, letter in letters.items()},
                },
            ),
            transform("sortBy", fields={}, sort=[{"field": "Throughput", "desc": True}]),
        ),
        overrides=(
            *(override("byName", title, unit=unit) for title, (_, unit) in columns.items()),
            *((override("byName", label, links=[link]),) if filters else ()),
        ),
    )


GROUPS = Row(
    "Models and instances",
    (by_group("model", "Model", filters=True), by_group("instance", "Instance", filters=False)),
)

BUDGET = Row(
    "Error budget",
    (
        timeseries(
            "Error budget left",
            "Of the last 30 days, each request weighing the same. 1 is untouched, below 0 the"
            f" objective is missed.{RULES}"
            " Metric: `namespace_job_slo:goodput_error_budget_left:ratio_rate30d`.",
            "percentunit",
            Query(
                "namespace_job_slo:goodput_error_budget_left:ratio_rate30d{@limit}",
                "{{job}} {{slo}}",
            ),
            max=1,
            min=None,
        ),
        timeseries(
            "Burn rate",
            "How many times as fast as it may the budget was spent, in windows of four lengths;"
            " the class that burns most. Dashed is where alerts begin: 14.4 in 1 h and 6 in 6 h"
            f" page, 1 in 3 d makes a ticket.{RULES}"
            " Metric: `namespace_job_slo:goodput_requests_bad_per_judged:ratio_rate1h` and its"
            " kin.",
            "suffix: x",
            *(Query(f"max({burn(window)})", window) for window in ("5m", "1h", "6h", "3d")),
            thresholds=steps((None, "transparent"), (1, "yellow"), (6, "orange"), (14.4, "red")),
            custom={
                "drawStyle": "line",
                "fillOpacity": 0,
                "lineWidth": 1,
                "showPoints": "never",
                "thresholdsStyle": {"mode": "dashed"},
            },
        ),
    ),
)
