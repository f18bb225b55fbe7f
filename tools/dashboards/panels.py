"""The JSON of Grafana's dashboards: panels, variables, and their places on a grid of 24 columns.

Plain dictionaries and no library: the maintained one, grafana-foundation-sdk, models one version of
Grafana per release, the release that pip picks by itself is an old one, and it leaves ids,
reference ids and places to its caller, which are most of what is here. What is written is the
classic schema, which Grafana 10.4 and everything newer reads.

A query is PromQL with two liberties: `@name` inside braces stands for the matchers of that name in
`SELECTORS`, and line breaks are kept out of the JSON.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import count
from typing import Any

Json = dict[str, Any]

SCHEMA_VERSION = 39  # of Grafana 10.4
COLUMNS = 24
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}

_JOB = 'namespace=~"$namespace",job=~"$job"'
SELECTORS = {
    "job": _JOB,
    "limit": f'{_JOB},slo=~"$slo"',
    "model": f'{_JOB},model=~"$model"',
    "slo": f'{_JOB},model=~"$model",slo=~"$slo"',
    "proxy": f'{_JOB},instance=~"$instance"',
}


@dataclass(frozen=True)
class Query:
    """One query of a panel.

    Args:
        expr: PromQL, see above.
        legend: of its series.
    """

    expr: str
    legend: str = ""

    def target(self, ref_id: str, shape: str = "time_series", *, exemplars: bool = False) -> Json:
        """Return it as a panel's target; a table asks for one moment, the others for all."""
        expr = re.sub(r"@(\w+)", lambda name: SELECTORS[name[1]], self.expr)
        expr = re.sub(r"(?<=[(\[{])\s+|\s+(?=[)\]}])", "", re.sub(r"\s+", " ", expr.strip()))
        instant = shape == "table"
        return {
            "datasource": DATASOURCE,
            "editorMode": "code",
            "exemplar": exemplars,
            "expr": expr,
            "format": shape,
            "instant": instant,
            "legendFormat": self.legend or "__auto",
            "range": not instant,
            "refId": ref_id,
        }


@dataclass(frozen=True)
class Panel:
    """One panel without its place.

    Args:
        kind: Grafana's name of its type.
        title: what it shows.
        description: how to read it.
        unit: of its values.
        queries: in the order of their reference ids.
        width: in columns.
        height: in rows of 30 pixels.
    """

    kind: str
    title: str
    description: str
    unit: str
    queries: tuple[Query, ...]
    width: int
    height: int = 8
    shape: str = "time_series"
    exemplars: bool = False
    defaults: Json = field(default_factory=dict)
    overrides: tuple[Json, ...] = ()
    options: Json = field(default_factory=dict)
    transformations: tuple[Json, ...] = ()

    def as_json(self, number: int, x: int, y: int) -> Json:
        """Return it at a place."""
        return {
            "datasource": DATASOURCE,
            "description": self.description,
            "fieldConfig": {
                "defaults": {"unit": self.unit, **self.defaults},
                "overrides": list(self.overrides),
            },
            "gridPos": {"h": self.height, "w": self.width, "x": x, "y": y},
            "id": number,
            "options": self.options,
            "targets": [
                query.target(chr(ord("A") + i), self.shape, exemplars=self.exemplars)
                for i, query in enumerate(self.queries)
            ],
            "title": self.title,
            "transformations": list(self.transformations),
            "type": self.kind,
        }


@dataclass(frozen=True)
class Row:
    """Panels under a heading that folds them away."""

    title: str
    panels: tuple[Panel, ...]


def override(matcher: str, pattern: str, **properties: Any) -> Json:
    """Return properties of the fields that match; `_` in a name stands for a dot."""
    return {
        "matcher": {"id": matcher, "options": pattern},
        "properties": [
            {"id": name.replace("_", "."), "value": value} for name, value in properties.items()
        ],
    }


def colour(names: dict[str, str]) -> tuple[Json, ...]:
    """Return overrides that give series of these names fixed colours."""
    return tuple(
        override("byName", name, color={"mode": "fixed", "fixedColor": fixed})
        for name, fixed in names.items()
    )


# The same meaning has the same colour in every panel.
QUANTILES = colour({"p50": "green", "p95": "orange", "p99": "red"})
LIMITS = (
    override(
        "byRegexp",
        "/^(limit|objective)/",
        color={"mode": "fixed", "fixedColor": "text"},
        custom_lineStyle={"fill": "dash", "dash": [10, 10]},
        custom_fillOpacity=0,
        custom_stacking={"mode": "none", "group": "limit"},
    ),
)


def steps(*edges: tuple[float | None, str]) -> Json:
    """Return thresholds: from each value on, its colour."""
    return {
        "mode": "absolute",
        "steps": [{"color": name, "value": value} for value, name in edges],
    }


def stat(
    title: str, description: str, unit: str, expr: str, thresholds: Json | None = None
) -> Panel:
    """Return a tile with the newest value and its course."""
    neutral = steps((None, "text"))
    return Panel(
        "stat",
        title,
        description,
        unit,
        (Query(expr),),
        width=3,
        height=4,
        defaults={"thresholds": thresholds or neutral, "noValue": "No traffic"},
        options={
            "colorMode": "value",
            "graphMode": "area",
            "justifyMode": "auto",
            "orientation": "auto",
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            "textMode": "value",
        },
    )


def timeseries(
    title: str,
    description: str,
    unit: str,
    *queries: Query,
    width: int = 12,
    overrides: tuple[Json, ...] = (),
    stacked: bool = False,
    exemplars: bool = False,
    **defaults: Any,
) -> Panel:
    """Return lines, or areas that add up; values begin at zero unless `min` says otherwise."""
    return Panel(
        "timeseries",
        title,
        description,
        unit,
        queries,
        width,
        exemplars=exemplars,
        defaults={
            "color": {"mode": "palette-classic"},
            "custom": {
                "drawStyle": "line",
                "fillOpacity": 40 if stacked else 8,
                "lineWidth": 1,
                "showPoints": "never",
                "spanNulls": False,
                "stacking": {"mode": "normal" if stacked else "none", "group": "A"},
            },
            "min": 0,
            "noValue": "No traffic",
            **defaults,
        },
        overrides=overrides,
        options={
            "legend": {
                "calcs": ["mean", "lastNotNull"],
                "displayMode": "table",
                "placement": "bottom",
                "showLegend": True,
            },
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
    )


def quantiles(
    title: str, description: str, metric: str, *more: Query, selector: str = "@slo", **style: Any
) -> Panel:
    """Return the median, 95th and 99th percentile of a histogram of seconds."""
    rates = f"sum by (le) (rate({metric}_bucket{{{selector}}}[$__rate_interval]))"
    queries = [Query(f"histogram_quantile(0.{p}, {rates})", f"p{p}") for p in (50, 95, 99)]
    overrides = (*QUANTILES, *LIMITS)
    return timeseries(
        title, description, "s", *queries, *more, overrides=overrides, exemplars=True, **style
    )


def heatmap(title: str, description: str, metric: str, selector: str = "@slo") -> Panel:
    """Return the distribution of a histogram of seconds over time."""
    rates = f"sum by (le) (rate({metric}_bucket{{{selector}}}[$__rate_interval]))"
    return Panel(
        "heatmap",
        title,
        description,
        "s",
        (Query(rates, "{{le}}"),),
        width=8,
        shape="heatmap",
        options={
            "calculate": False,
            "cellGap": 1,
            "cellValues": {"unit": "cps"},
            "color": {
                "exponent": 0.5,
                "mode": "scheme",
                "scale": "exponential",
                "scheme": "Oranges",
                "steps": 64,
            },
            "exemplars": {"color": "rgba(255,0,255,0.7)"},
            "filterValues": {"le": 1e-9},
            "legend": {"show": True},
            "rowsFrame": {"layout": "auto"},
            "tooltip": {"mode": "single", "showColorScale": False, "yHistogram": True},
            "yAxis": {"axisPlacement": "left", "unit": "s"},
        },
    )


def table(
    title: str,
    description: str,
    unit: str,
    *queries: Query,
    width: int,
    transformations: tuple[Json, ...],
    overrides: tuple[Json, ...] = (),
    **defaults: Any,
) -> Panel:
    """Return a table of the chosen time range."""
    return Panel(
        "table",
        title,
        description,
        unit,
        queries,
        width,
        height=9,
        shape="table",
        defaults={"custom": {"align": "auto", "filterable": True}, "noValue": "-", **defaults},
        overrides=overrides,
        options={"cellHeight": "sm", "showHeader": True},
        transformations=transformations,
    )


def transform(kind: str, **options: Any) -> Json:
    """Return one step between queries and panel."""
    return {"id": kind, "options": options}


def variable(name: str, label: str, query: str, *, hidden: bool = False) -> Json:
    """Return a variable that is asked of Prometheus; several values, or all.

    All is `.*` and not `.+`: outside Kubernetes there is no namespace, and `.*` matches that, too.
    """
    query = re.sub(r"@(\w+)", lambda selector: SELECTORS[selector[1]], query)
    return {
        "allValue": ".*",
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
        "datasource": DATASOURCE,
        "definition": query,
        "hide": 2 if hidden else 0,
        "includeAll": True,
        "label": label,
        "multi": True,
        "name": name,
        "query": {"query": query, "refId": name},
        "refresh": 2,
        "sort": 1,
        "type": "query",
    }


def dashboard(
    uid: str, title: str, description: str, variables: list[Json], rows: list[Row]
) -> Json:
    """Return a dashboard, its panels laid out row by row from the left."""
    source = {
        "hide": 0,
        "label": "Data source",
        "name": "datasource",
        "query": "prometheus",
        "refresh": 1,
        "type": "datasource",
    }
    return {
        "annotations": {"list": []},
        "description": description,
        "editable": False,
        "graphTooltip": 1,
        "id": None,
        "links": [
            {
                "asDropdown": False,
                "includeVars": True,
                "keepTime": True,
                "tags": ["goodput"],
                "title": "Goodput",
                "type": "dashboards",
            }
        ],
        "panels": _place(rows),
        "refresh": "30s",
        "schemaVersion": SCHEMA_VERSION,
        "tags": ["goodput"],
        "templating": {"list": [source, *variables]},
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "browser",
        "title": title,
        "uid": uid,
        "version": 1,
    }


def _place(rows: list[Row]) -> list[Json]:
    placed: list[Json] = []
    ids = count(1)
    y = 0
    for row in rows:
        heading = {"h": 1, "w": COLUMNS, "x": 0, "y": y}
        placed.append(
            {
                "collapsed": False,
                "gridPos": heading,
                "id": next(ids),
                "panels": [],
                "title": row.title,
                "type": "row",
            }
        )
        y += 1
        x = tallest = 0
        for panel in row.panels:
            if x + panel.width > COLUMNS:
                y, x, tallest = y + tallest, 0, 0
            placed.append(panel.as_json(next(ids), x, y))
            x, tallest = x + panel.width, max(tallest, panel.height)
        y += tallest
    return placed
