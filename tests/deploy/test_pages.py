"""docs/alerting.md and docs/grafana.md: their commands run, and their fragments are loaded."""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from goodput_proxy.settings import Settings
from tests.console import commands_of, prepare, run
from tests.deploy.promtool import ROOT, RULES, alerts, promtool

if TYPE_CHECKING:
    from pathlib import Path

ALERTING = (ROOT / "docs" / "alerting.md").read_text()
GRAFANA = (ROOT / "docs" / "grafana.md").read_text()
# What would talk to a cluster keeps what it is given; the rest of kubectl needs none.
KUBECTL = f'case "$1" in apply) cat >applied.yaml;; *) exec {shutil.which("kubectl")} "$@";; esac'


def fragments(page: str) -> list[dict[str, Any]]:
    """Return the YAML that a page shows, in order."""
    blocks = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    return [yaml.safe_load(block) for block in blocks]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return what looks like a checkout."""
    prepare(tmp_path, {}, {"kubectl": KUBECTL})
    for name in ("prometheus", "grafana"):
        (tmp_path / name).symlink_to(ROOT / name)
    return tmp_path


def test_the_rules_fit_into_a_resource_of_the_operator(folder: Path) -> None:
    """The command of the page makes a PrometheusRule that holds the same rules."""
    command, _ = commands_of(ALERTING)[0]

    assert run(command, folder) == (0, [])
    resource = yaml.safe_load((folder / "applied.yaml").read_text())
    assert resource["kind"] == "PrometheusRule"
    assert resource["spec"] == yaml.safe_load(RULES.read_text())


def test_alerts_can_lead_to_pages(folder: Path) -> None:
    """The command of the page gives each alert the address of its own page, and changes no more."""
    command, _ = commands_of(ALERTING)[1]

    assert run(command, folder) == (0, [])
    assert "rules found" in promtool("check", "rules", folder / "rules.yaml")
    groups = yaml.safe_load((folder / "rules.yaml").read_text())["groups"]
    found = [rule for group in groups for rule in group["rules"] if "alert" in rule]
    for rule in found:
        base, _, page = rule["annotations"].pop("runbook_url").partition("/docs/")
        assert base.startswith("https://")
        rule["annotations"]["runbook"] = f"docs/{page}"
    assert found == alerts()


def test_no_command_is_forgotten() -> None:
    """The page shows no other."""
    assert len(commands_of(ALERTING)) == 2
    assert len(commands_of(GRAFANA)) == 1


def test_prometheus_loads_what_the_page_shows(tmp_path: Path) -> None:
    """The fragment is a configuration, with the rules beside it."""
    (tmp_path / "rules.yaml").write_text(RULES.read_text())
    path = tmp_path / "prometheus.yaml"
    path.write_text(yaml.safe_dump(fragments(ALERTING)[0]))

    assert "1 rule files found" in promtool("check", "config", path)


def test_the_proxy_understands_the_objectives_of_the_page() -> None:
    """What the page calls settings are the proxy's."""
    settings = Settings.model_validate(fragments(ALERTING)[1])

    assert [each.objective for each in settings.slo_classes] == [0.99]


def test_pages_inhibit_tickets() -> None:
    """The matchers of the page's Alertmanager take alerts that there are, with labels they have."""
    (rule,) = fragments(ALERTING)[2]["inhibit_rules"]
    labels = [{"alertname": each["alert"], **each["labels"]} for each in alerts()]
    taken = []
    for matchers in (rule["source_matchers"], rule["target_matchers"]):
        patterns = dict(re.findall(r'^(\w+)=~?"(.*)"$', text)[0] for text in matchers)
        taken.append(
            {
                each["alertname"]
                for each in labels
                if all(re.fullmatch(pattern, each[name]) for name, pattern in patterns.items())
            }
        )

    pages, tickets = taken
    assert pages == {each["alertname"] for each in labels if each["severity"] == "critical"}
    assert tickets == {"GoodputErrorBudgetBurn", "GoodputErrorBudgetLow"}


def test_grafana_finds_the_config_map(folder: Path) -> None:
    """The command of the page makes a ConfigMap with all dashboards and the label."""
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed")
    ((command, _),) = commands_of(GRAFANA)

    assert run(command, folder) == (0, [])
    made = yaml.safe_load((folder / "applied.yaml").read_text())
    assert made["kind"] == "ConfigMap"
    assert made["metadata"]["labels"] == {"grafana_dashboard": "1"}
    assert made["data"] == {path.name: path.read_text() for path in (ROOT / "grafana").iterdir()}
