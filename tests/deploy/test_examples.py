"""The examples for other tools: each is what its tool reads, and they mean one promise."""

from __future__ import annotations

import re
from typing import Any

import jsonschema
import pytest
import yaml

from tests.deploy.crds import validate
from tests.deploy.promtool import ROOT
from tests.kubernetes.schemas import VERSIONS

FOLDER = ROOT / "examples"
BAD = 'goodput_requests_total{job="vllm",slo="interactive",verdict=~"slow|error"}'
TOTAL = (
    'goodput_requests_total{job="vllm",slo="interactive",verdict=~"good|good_partial|slow|error"}'
)
LABELS = {"type": "object", "additionalProperties": {"type": "string"}}
ALERT = {
    "type": "object",
    "additionalProperties": False,
    "properties": {"disable": {"type": "boolean"}, "labels": LABELS, "annotations": LABELS},
}
QUERY = {"type": "string", "pattern": r"\[\{\{\.window\}\}\]"}


def closed(**properties: Any) -> dict[str, Any]:
    """Return the schema of an object that has these and no others."""
    return {
        "type": "object",
        "additionalProperties": False,
        "required": list(properties),
        "properties": properties,
    }


# As its own Go types have it, which are read strictly.
SLOTH = closed(
    version={"const": "prometheus/v1"},
    service={"type": "string"},
    slos={
        "type": "array",
        "items": closed(
            name={"type": "string"},
            objective={"type": "number", "exclusiveMinimum": 0, "maximum": 100},
            description={"type": "string"},
            sli=closed(events=closed(error_query=QUERY, total_query=QUERY)),
            alerting=closed(name={"type": "string"}, page_alert=ALERT, ticket_alert=ALERT),
        ),
    },
)


def load(name: str) -> Any:
    """Return an example."""
    return yaml.safe_load((FOLDER / f"{name}.yaml").read_text())


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", ["hpa", "keda", "openslo", "pyrra"])
def test_resources_are_known(name: str, version: str) -> None:
    """Each is valid to the last field, by Kubernetes' schema or by that of its operator."""
    validate(load(name), version)


def test_sloth_reads_its_example() -> None:
    """It has the fields of Sloth's specification, and leaves the window to Sloth."""
    jsonschema.validate(load("sloth"), SLOTH)


def test_all_make_the_same_promise() -> None:
    """The three tools count the same requests as bad and as all, with the same objective."""
    sloth, pyrra, openslo = load("sloth")["slos"][0], load("pyrra")["spec"], load("openslo")["spec"]
    events, ratio = sloth["sli"]["events"], pyrra["indicator"]["ratio"]
    metric = openslo["indicator"]["spec"]["ratioMetric"]
    window = "[{{.window}}]"

    assert (ratio["errors"]["metric"], ratio["total"]["metric"]) == (BAD, TOTAL)
    assert events["error_query"] == f"sum(rate({BAD}{window}))"
    assert events["total_query"] == f"sum(rate({TOTAL}{window}))"
    assert metric["bad"]["metricSource"]["spec"]["query"] == f"sum({BAD})"
    assert metric["total"]["metricSource"]["spec"]["query"] == f"sum({TOTAL})"
    assert sloth["objective"] == float(pyrra["target"]) == 100 * openslo["objectives"][0]["target"]


def test_the_autoscaler_asks_for_what_the_adapter_has() -> None:
    """Every metric of the HorizontalPodAutoscaler is named by a rule of its kind."""
    rules, metrics = load("prometheus-adapter")["rules"], load("hpa")["spec"]["metrics"]
    offered = {
        kind: {rule["name"]["as"] for rule in rules[key]}
        for kind, key in (("Pods", "custom"), ("External", "external"))
    }

    assert rules.keys() == {"custom", "external"}
    for metric in metrics:
        kind = metric["type"]
        assert metric[kind.lower()]["metric"]["name"] in offered[kind]
    for rule in [*rules["custom"], *rules["external"]]:
        assert rule.keys() == {"seriesQuery", "resources", "name", "metricsQuery"}
        assert set(re.findall("<<.*?>>", rule["metricsQuery"])) <= {
            *("<<.Series>>", "<<.LabelMatchers>>", "<<.GroupBy>>")
        }


def test_every_example_is_checked() -> None:
    """No example lies there that no test has read."""
    assert {path.stem for path in FOLDER.glob("*.yaml")} == {
        *("hpa", "keda", "openslo", "pyrra", "sloth", "prometheus-adapter"),
        "prometheus",  # by promtool, in test_live
    }
