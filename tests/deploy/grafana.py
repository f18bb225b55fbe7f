"""The dashboards as Grafana would read them, and their queries as it would send them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / "grafana").glob("*.json"))
ALL = ".*"


class Asked(NamedTuple):
    """A query of a panel."""

    dashboard: str
    panel: str
    ref_id: str
    expr: str
    legend: str
    instant: bool


def load(path: Path) -> dict[str, Any]:
    """Return a dashboard."""
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def panels(path: Path) -> list[dict[str, Any]]:
    """Return the panels of a dashboard, the rows' headings left out."""
    return [panel for panel in load(path)["panels"] if panel["type"] != "row"]


def queries() -> list[Asked]:
    """Return every query of every panel."""
    return [
        Asked(
            path.stem,
            panel["title"],
            target["refId"],
            target["expr"],
            target["legendFormat"],
            target["instant"],
        )
        for path in FILES
        for panel in panels(path)
        for target in panel["targets"]
    ]


def query_of(dashboard: str, panel: str, ref_id: str = "A") -> str:
    """Return one query by its place."""
    (found,) = [q.expr for q in queries() if q[:3] == (dashboard, panel, ref_id)]
    return found


def fill_in(expr: str, window: str = "5m", **chosen: str) -> str:
    """Return a query with its variables replaced; what is not chosen is all."""
    for name in ("__rate_interval", "__range"):
        expr = expr.replace(f"${name}", window)
    for name in ("namespace", "job", "model", "slo", "instance"):
        expr = expr.replace(f'"${name}"', f'"{chosen.get(name, ALL)}"')
    assert "$" not in expr, expr
    return expr
