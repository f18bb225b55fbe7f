"""What may be said to the chart: the schema is the only place that refuses, and in words."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from goodput_proxy.settings import Settings
from tests.deploy.crds import validate
from tests.deploy.helm import CHART, HelmValuesError, Release, refusal, render
from tests.deploy.values import SCHEMA, drawn, spoiled
from tests.kubernetes.schemas import VERSIONS

# Making what is drawn is slow beside rendering it.
patient = settings(deadline=None, max_examples=30, suppress_health_check=list(HealthCheck))
slow = pytest.mark.timeout(300)

NUMBERS = {"fullnameOverride": "1234", "nameOverride": "1e3", "commonLabels": {"a": "1"}}
STANDALONE = {
    "upstream": "http://a:1",
    "autoscaling": {"enabled": True},
    "networkPolicy": {"enabled": True},
}


def check(release: Release) -> None:
    """Check every object: its schema, the type of its names, and lengths that Kubernetes bounds."""
    for each in release.objects:
        validate(each, VERSIONS[-1])
        metadata = each["metadata"]
        labels = metadata.get("labels", {})
        # That of the registration is longer, as it has the namespace in it; it may be.
        bound = 253 if each["kind"] == "MutatingWebhookConfiguration" else 63
        assert len(metadata["name"]) <= bound
        assert all(len(value) <= 63 for value in labels.values())


def lacks_upstream(values: dict[str, Any]) -> bool:
    """Return whether what standalone mode needs is missing: the one rule that binds two values."""
    upstream = values.get("standalone", {}).get("upstream", "")
    return values.get("mode") == "standalone" and upstream == ""


@slow
@patient
# Names that YAML would take for numbers, and the longest.
@example(NUMBERS | {"mode": "standalone", "standalone": STANDALONE}, "0")
@example(NUMBERS | {"webhook": {"enabled": True}, "serviceMonitor": {"enabled": True}}, "0")
@example({"fullnameOverride": "a" * 63, "webhook": {"enabled": True}}, "b" * 53)
@given(drawn(), st.from_regex(r"\A[a-z0-9]([a-z0-9-]{0,51}[a-z0-9])?\Z"))
def test_what_the_schema_allows_is_rendered(values: dict[str, Any], name: str) -> None:
    """No template fails, and the settings reach the proxy as they were written."""
    if lacks_upstream(values):
        assert "/standalone/upstream" in refusal(values)
        return
    release = render(values, name=name)

    check(release)
    release.notes.encode()
    texts = [text for path, text in release.texts.items() if path.endswith("/configmap.yaml")]
    for found in Release({"configmap.yaml": texts[0]}).objects or [{}]:
        text = found.get("data", {}).get("goodput.yaml", "{}")
        assert yaml.safe_load(text) == values.get("config", {})


@slow
@patient
@given(spoiled())
def test_what_the_schema_refuses_reaches_no_template(values: dict[str, Any]) -> None:
    """Whatever stands in the place of a value, Helm refuses the values or renders them."""
    with contextlib.suppress(HelmValuesError):
        _ = render(values).objects


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"config": {"slo": {"tftt": "1s"}}}, "'/config/slo': additional properties 'tftt'"),
        ({"podmonitor": {}}, "additional properties 'podmonitor' not allowed"),
        ({"config": {"listen": "0.0.0.0:1"}}, "'/config': additional properties 'listen'"),
        ({"config": {"slo": {"ttft": 500}}}, "'/config/slo/ttft': got number, want string"),
        ({"config": {"slo": {"ttft": "500"}}}, "'500' does not match pattern '^(none|[0-9]+"),
        ({"config": {"timeouts": {"idle": "none"}}}, "'/config/timeouts/idle': 'none' does not"),
        ({"config": {"slo_classes": [{"ttft": "1s"}]}}, "slo_classes/0': missing property 'name'"),
        (
            {"config": {"slo": {"objective": 95}}},
            "/config/slo/objective': exclusiveMaximum: got 95",
        ),
        ({"config": {"slo": {"preset": "mlperf"}}}, "/config/slo/preset': value must be one of"),
        ({"webhook": {"slo": {"itl": "50"}}}, "'/webhook/slo/itl': '50' does not match"),
        ({"podMonitor": {"interval": "15"}}, "'/podMonitor/interval': '15' does not match"),
        ({"config": {"workers": 2}}, "'/config': additional properties 'workers' not allowed"),
        ({"sidecar": {"workers": 0}}, "'/sidecar/workers': minimum: got 0, want 1"),
        (
            {"sidecar": {"resources": {"limits": {"cpu": "1 core"}}}},
            "'/sidecar/resources/limits/cpu': '1 core' does not match",
        ),
        ({"sidecar": {"mode": "nativ"}}, "must be one of 'native', 'classic'"),
        (
            {"prometheusRule": {"runbookBaseUrl": "docs/runbooks"}},
            "'/prometheusRule/runbookBaseUrl': 'docs/runbooks' does not match pattern '^(https?://",
        ),
        ({"mode": "standalone"}, "'/standalone/upstream': '' does not match pattern '^https?://'"),
        ({"image": None}, "missing property 'image'"),
    ],
)
def test_refusals_name_the_place_and_the_reason(values: dict[str, Any], words: str) -> None:
    """A typing error, a duration without a unit, and a value out of range are told as such."""
    assert words in refusal(values)


def objects_of(part: Any) -> list[dict[str, Any]]:
    """Return every schema of an object below a part."""
    inner = part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
    found = [part] if isinstance(part, dict) and part.get("type") == "object" else []
    return found + [each for value in inner for each in objects_of(value)]


def test_objects_are_closed() -> None:
    """Whatever has names of its own knows no others, so that a misspelt one is noticed."""
    named = [part for part in objects_of(SCHEMA) if "properties" in part]

    assert SCHEMA["$schema"] == "http://json-schema.org/draft-07/schema#"
    assert len(named) > 20
    assert all(part["additionalProperties"] is False for part in named)


def known(part: dict[str, Any], path: str = "") -> set[str]:
    """Return the path of every value that a schema names, groups that are defined apart aside."""
    found = set()
    for name, inner in part.get("properties", {}).items():
        found |= {f"{path}{name}"} | known(inner, f"{path}{name}.")
    return found


def listed(values: dict[str, Any], path: str = "") -> set[str]:
    """Return the path of every value that is given."""
    found = set()
    for name, inner in values.items():
        found |= {f"{path}{name}"}
        found |= listed(inner, f"{path}{name}.") if isinstance(inner, dict) else set()
    return found


def test_every_value_is_listed() -> None:
    """values.yaml shows all that can be chosen, and the schema knows all that it shows."""
    values = listed(yaml.safe_load((CHART / "values.yaml").read_text()))
    optional = {"global"} | {
        f"{group}.{name}"
        for group, names in {
            "podMonitor.namespaceSelector": ("any", "matchNames"),
            "webhook.certificates.issuerRef": ("name", "kind", "group"),
        }.items()
        for name in names
    }

    assert known(SCHEMA) - values == optional


def test_config_is_what_the_proxy_knows() -> None:
    """Every setting can be written below `config`, but for addresses: the chart chooses them."""
    missing = Settings.model_fields.keys() - SCHEMA["definitions"]["Settings"]["properties"].keys()

    assert missing == {
        *("upstream", "listen", "admin_listen", "config", "workers"),
        *("listen_tls", "admin_listen_tls"),
    }
    assert json.dumps(SCHEMA).count('"$defs"') == 0
