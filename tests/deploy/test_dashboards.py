"""The dashboards: what Grafana needs to load them, and what a reader needs to trust them."""

from __future__ import annotations

import re
import subprocess
import sys
from itertools import combinations
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.deploy.grafana import FILES, ROOT, fill_in, load, panels, queries
from tests.deploy.promtool import promtool

if TYPE_CHECKING:
    from pathlib import Path

DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
each_dashboard = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)


def variables(path: Path) -> dict[str, dict[str, Any]]:
    """Return the variables of a dashboard by name."""
    return {variable["name"]: variable for variable in load(path)["templating"]["list"]}


def nested(value: Any) -> list[dict[str, Any]]:
    """Return every object inside a value."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    found = [value] if isinstance(value, dict) else []
    return found + [each for part in inner for each in nested(part)]


def test_files_are_up_to_date() -> None:
    """The committed JSON is what the script writes, and nothing else lies beside it."""
    command = [sys.executable, "tools/dashboards", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr


def test_identifiers_are_unique() -> None:
    """Each dashboard is found by a readable name of its own."""
    assert [load(path)["uid"] for path in FILES] == ["goodput-overview", "goodput-proxy"]


@each_dashboard
def test_the_frame(path: Path) -> None:
    """A classic dashboard that Grafana 10.4 and newer provision, small enough for a ConfigMap."""
    content = load(path)

    assert content["schemaVersion"] == 39
    assert content["id"] is None
    assert content["editable"] is False
    assert content["tags"] == ["goodput"]
    assert "__inputs" not in content
    assert path.stat().st_size < 200_000


@each_dashboard
def test_variables(path: Path) -> None:
    """Source, namespace, job, model and class can be chosen, each of the others below the first."""
    found = variables(path)
    source = found.pop("datasource")

    assert (source["type"], source["query"]) == ("datasource", "prometheus")
    assert {"namespace", "job", "model", "slo"} <= set(found)
    for variable in found.values():
        assert (variable["type"], variable["refresh"]) == ("query", 2)
        assert variable["multi"]
        assert variable["includeAll"]
        assert variable["allValue"] == ".*"  # `.+` would miss targets without a namespace
        assert variable["definition"] == variable["query"]["query"]
    assert 'namespace=~"$namespace"' in found["job"]["definition"]
    assert 'job=~"$job"' in found["model"]["definition"]
    assert 'job=~"$job"' in found["slo"]["definition"]


@each_dashboard
def test_the_data_source_is_chosen(path: Path) -> None:
    """Nothing names a data source but by the variable, in panels, queries and variables."""
    for holder in nested(load(path)):
        if "datasource" in holder:
            assert holder["datasource"] == DATASOURCE
        if "targets" in holder or "expr" in holder:
            assert "datasource" in holder


@each_dashboard
def test_places(path: Path) -> None:
    """Panels have ids of their own, lie within the 24 columns, and do not overlap."""
    placed = load(path)["panels"]
    ids = [panel["id"] for panel in placed]

    assert len(set(ids)) == len(ids)
    for panel in placed:
        at = panel["gridPos"]
        assert at["x"] >= 0
        assert at["x"] + at["w"] <= 24
    for one, other in combinations(placed, 2):
        a, b = one["gridPos"], other["gridPos"]
        apart = (
            a["x"] + a["w"] <= b["x"]
            or b["x"] + b["w"] <= a["x"]
            or a["y"] + a["h"] <= b["y"]
            or b["y"] + b["h"] <= a["y"]
        )
        assert apart, (one["title"], other["title"])


@each_dashboard
def test_panels_explain_themselves(path: Path) -> None:
    """Each has a title of its own, a description that names its metrics, a unit, and queries."""
    titles = [panel["title"] for panel in panels(path)]

    assert all(titles)
    assert len(set(titles)) == len(titles)
    for panel in panels(path):
        asked = " ".join(target["expr"] for target in panel["targets"])
        _, _, named = panel["description"].partition(" Metric")
        metrics = re.findall(r"`([a-z_:0-9]+)`", named)
        assert metrics, panel["title"]
        assert [metric for metric in metrics if metric not in asked] == []
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        refs = [target["refId"] for target in panel["targets"]]
        assert refs
        assert len(set(refs)) == len(refs)


@pytest.mark.parametrize("asked", queries(), ids=lambda asked: "/".join(asked[:3]))
def test_queries_keep_the_rules(asked: Any) -> None:
    """Counters are asked for rates over Grafana's own window, and selectors follow the choice."""
    expr = asked.expr
    windows = re.findall(r"\[([^]]*)\]", expr)
    selectors = re.findall(r"[a-z_:0-9]+\{([^}]*)\}", expr)

    assert set(windows) <= {"$__rate_interval", "$__range"}
    assert selectors
    for selector in selectors:
        assert selector.startswith('namespace=~"$namespace",job=~"$job"'), selector
    for counter in re.finditer(r"[a-z_]+_(?:total|bucket)\{", expr):
        assert expr[: counter.start()].endswith(("rate(", "increase(")), counter[0]


def test_promtool_parses_every_query(tmp_path: Path) -> None:
    """Each is PromQL, whatever is chosen: one value, several, or all."""
    several = "a|b"
    chosen = [
        {},
        dict.fromkeys(("namespace", "job", "model", "slo", "instance"), "a"),
        dict.fromkeys(("namespace", "job", "model", "slo", "instance"), several),
    ]
    rules = [
        {"record": f"query:{number}:{variant}", "expr": fill_in(asked.expr, **values)}
        for number, asked in enumerate(queries())
        for variant, values in enumerate(chosen)
    ]
    path = tmp_path / "queries.yaml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}))

    assert f"{len(rules)} rules found" in promtool("check", "rules", path)
