"""The chart: what each example of its values renders, and what it takes over from elsewhere."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
from typing import TYPE_CHECKING, Any

import pytest
import yaml

import goodput_proxy
from goodput_proxy.kubernetes import names
from goodput_proxy.settings import Settings
from tests.deploy.crds import validate
from tests.deploy.helm import CHART, EXAMPLES, NAMESPACE, ROOT, example, lint, package, render
from tests.deploy.promtool import RULES, alerts, promtool
from tests.kubernetes.schemas import VERSIONS

if TYPE_CHECKING:
    from pathlib import Path

each_example = pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)


def values(name: str) -> dict[str, Any]:
    """Return the values of an example."""
    return example(CHART / "ci" / f"{name}-values.yaml")


# -- all of it


@each_example
@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_knows_what_is_rendered(path: Path, version: str) -> None:
    """Every object of every example is valid, to the last field."""
    objects = render(example(path)).objects

    assert objects
    for each in objects:
        validate(each, version)


@each_example
@pytest.mark.parametrize("version", VERSIONS)
def test_helm_has_no_complaint(path: Path, version: str) -> None:
    """`helm lint --strict` finds nothing."""
    assert lint(example(path), f"v{version}.0") == []


@each_example
def test_objects_are_told_apart(path: Path) -> None:
    """No two objects have one name, and each has the release's namespace or one it was given."""
    given = example(path)
    objects = render(given).objects
    found = [(o["kind"], o["metadata"].get("namespace"), o["metadata"]["name"]) for o in objects]
    places = {
        NAMESPACE,
        *(group.get("namespace") for group in given.values() if "namespace" in group),
    }

    assert len(set(found)) == len(found)
    for kind, namespace, name in found:
        if kind != "MutatingWebhookConfiguration" and name != "extra":
            assert namespace in places


def test_yaml_is_tidy() -> None:
    """Yamllint has no complaint about what is not a template."""
    files = [CHART / "Chart.yaml", CHART / "values.yaml", *EXAMPLES]
    rules = "{extends: relaxed, rules: {line-length: {max: 120}}}"
    command = [sys.executable, "-m", "yamllint", "--strict", "--config-data", rules]
    done = subprocess.run([*command, *map(str, files)], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr


def test_copies_are_up_to_date() -> None:
    """Rules, dashboards and the settings in the schema are those of the project."""
    command = [sys.executable, "tools/chart.py", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr


def test_the_package_is_complete(tmp_path: Path) -> None:
    """`helm package` takes along what is read at rendering, and the schema."""
    with tarfile.open(package(tmp_path)) as archive:
        packed = {name.removeprefix("goodput-proxy/") for name in archive.getnames()}

    assert {"Chart.yaml", "README.md", "values.yaml", "values.schema.json"} <= packed
    for path in [*CHART.rglob("templates/**/*"), *CHART.rglob("files/**/*")]:
        if path.is_file():
            assert path.relative_to(CHART).as_posix() in packed
    assert not any(name.startswith("ci/") for name in packed)


def test_it_installs_the_version_that_it_was_made_with() -> None:
    """The image's tag is the package's version where nothing else is said."""
    about = yaml.safe_load((CHART / "Chart.yaml").read_text())

    assert about["appVersion"] == goodput_proxy.__version__
    assert (
        f'"goodput-proxy:{goodput_proxy.__version__}"'
        in (CHART / "templates" / "_sidecar.tpl").read_text()
    )


# -- settings


def test_classes_become_the_proxys_settings(tmp_path: Path) -> None:
    """What stands below `config` is a file that the proxy loads, and means the same."""
    given = values("config")
    (text,) = render(given).of_kind("ConfigMap")[0]["data"].values()
    path = tmp_path / names.CONFIG_KEY
    path.write_text(text)
    settings = Settings.load([f"--config={path}"])

    assert yaml.safe_load(text) == given["config"]
    assert [each.name for each in settings.slo_classes] == ["interactive", "batch"]
    assert settings.slo.stall is None
    assert settings.limits.body_bytes == 128 * 2**20
    assert list(render(given).of_kind("ConfigMap")[0]["data"]) == [names.CONFIG_KEY]


def test_a_change_of_settings_restarts_nothing() -> None:
    """Pods are the same whatever the settings are: the proxy reads the file again by itself."""
    given = values("standalone")
    before = render(given).one("Deployment")
    given["config"] = {"slo": {"ttft": "1s"}}

    assert render(given).one("Deployment") == before


# -- monitoring


def test_the_rules_are_the_projects(tmp_path: Path) -> None:
    """The PrometheusRule holds the very file, and promtool takes what it holds."""
    rule = render({}).one("PrometheusRule")
    path = tmp_path / "rules.yaml"
    path.write_text(yaml.safe_dump(rule["spec"]))

    assert rule["spec"] == yaml.safe_load(RULES.read_text())
    assert "rules found" in promtool("check", "rules", path)


def test_alerts_lead_to_pages(tmp_path: Path) -> None:
    """Where it is said where the pages are, each alert has the address of its own."""
    given = values("prometheus-stack")
    rule = render(given).one("PrometheusRule")
    path = tmp_path / "rules.yaml"
    path.write_text(yaml.safe_dump(rule["spec"]))
    base = given["prometheusRule"]["runbookBaseUrl"].rstrip("/")
    linked = [
        (each["alert"], each["annotations"].pop("runbook_url"))
        for group in rule["spec"]["groups"]
        for each in group["rules"]
        if "alert" in each
    ]

    assert "rules found" in promtool("check", "rules", path)
    assert linked == [(name, f"{base}/{name}.md") for name, _ in linked]
    assert len(linked) == len(alerts())
    assert "runbook" not in yaml.safe_dump(rule["spec"])


def test_the_dashboards_are_the_projects() -> None:
    """One ConfigMap for each dashboard, unchanged, with the label that Grafana's sidecar wants."""
    found = [
        o for o in render({}).of_kind("ConfigMap") if "grafana_dashboard" in str(o["metadata"])
    ]
    files = {path.name: path.read_text() for path in (ROOT / "grafana").glob("*.json")}
    shown = {name: text for each in found for name, text in each["data"].items()}

    assert {name: text.rstrip() for name, text in shown.items()} == {
        name: text.rstrip() for name, text in files.items()
    }
    assert all(each["metadata"]["labels"]["grafana_dashboard"] == "1" for each in found)


def test_the_grafana_operator_is_led_to_the_dashboards() -> None:
    """Each GrafanaDashboard names a ConfigMap and a key that are there."""
    release = render(values("grafana-operator"))
    maps = {each["metadata"]["name"]: each["data"] for each in release.of_kind("ConfigMap")}
    found = release.of_kind("GrafanaDashboard")

    assert len(found) == 2
    for each in found:
        reference = each["spec"]["configMapRef"]
        assert reference["key"] in maps[reference["name"]]
        assert each["spec"]["instanceSelector"] == {"matchLabels": {"dashboards": "main"}}


def selects(selector: dict[str, str], labels: dict[str, str]) -> bool:
    """Return whether a selector's labels are among an object's."""
    return bool(selector) and selector.items() <= labels.items()


def test_a_pod_monitor_finds_every_sidecar() -> None:
    """It selects the label that `inject` adds, in all namespaces, and the sidecar's own port."""
    spec = render({}).one("PodMonitor")["spec"]

    assert spec["selector"] == {"matchLabels": {names.LABEL: "true"}}
    assert spec["namespaceSelector"] == {"any": True}
    assert spec["podMetricsEndpoints"][0]["port"] == names.ADMIN_PORT_NAME


@pytest.mark.parametrize("name", ["standalone", "standalone-tls"])
def test_selectors_of_the_standalone_proxy_meet_its_pods(name: str) -> None:
    """Services, budgets, policies and monitors select the pods, and lead to ports by number."""
    release = render(values(name))
    template = release.one("Deployment")["spec"]["template"]
    labels = template["metadata"]["labels"]
    (container,) = template["spec"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    services = {
        each["spec"]["ports"][0]["name"]: each["spec"] for each in release.of_kind("Service")
    }

    assert selects(release.one("Deployment")["spec"]["selector"]["matchLabels"], labels)
    assert all(selects(spec["selector"], labels) for spec in services.values())
    assert services["http"]["ports"][0]["targetPort"] == ports["goodput"]
    for each in release.of_kind("PodMonitor"):
        assert selects(each["spec"]["selector"]["matchLabels"], labels)
        assert each["spec"]["podMetricsEndpoints"][0]["port"] in ports
    for each in release.of_kind("ServiceMonitor"):
        (service,) = [s for s in release.of_kind("Service") if "metrics" in s["metadata"]["name"]]
        wanted = each["spec"]["selector"]["matchLabels"]
        assert selects(wanted, service["metadata"]["labels"])
        (other,) = [s for s in release.of_kind("Service") if s != service]
        assert not selects(wanted, other["metadata"]["labels"])
        assert service["spec"]["ports"][0]["targetPort"] == ports["goodput-admin"]
        assert each["spec"]["endpoints"][0]["port"] == service["spec"]["ports"][0]["name"]
    for each in release.of_kind("PodDisruptionBudget"):
        assert selects(each["spec"]["selector"]["matchLabels"], labels)
    for each in release.of_kind("NetworkPolicy"):
        assert selects(each["spec"]["podSelector"]["matchLabels"], labels)
        admitted = [rule["ports"][0]["port"] for rule in each["spec"]["ingress"]]
        assert admitted == [ports["goodput"], ports["goodput-admin"]]


def test_replicas_are_the_autoscalers() -> None:
    """Where there is an autoscaler the Deployment has no number that would be fought over."""
    release = render(values("standalone"))
    target = release.one("HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]

    assert "replicas" not in release.one("Deployment")["spec"]
    assert target["name"] == release.one("Deployment")["metadata"]["name"]
    assert render(values("standalone-tls")).one("Deployment")["spec"]["replicas"] == 2


# -- what is told


def test_notes_tell_of_the_label_of_the_prometheus_stack() -> None:
    """Whoever has not set the label `release` learns of it; whoever has is left in peace."""
    assert "podMonitor.additionalLabels.release=NAME" in render({}).notes
    assert "additionalLabels" not in render(values("prometheus-stack")).notes


def test_notes_tell_the_next_step() -> None:
    """In each mode: where requests go, or how pods get the sidecar; and what is counted twice."""
    both = {"serviceMonitor": {"enabled": True}}

    assert "goodput-proxy inject --all" in render({}).notes
    assert "--config gp-goodput-proxy" in render(values("config")).notes
    assert "goodput-proxy.dev/webhook=enabled" in render(values("webhook")).notes
    assert "http://gp-goodput-proxy.models.svc:80 instead" in render(values("standalone")).notes
    assert "counted twice" in render(both).notes
    assert "counted twice" not in render({}).notes


def test_commands_of_the_page_work() -> None:
    """Whatever the page gives to `--set` is taken, and leads to the name that it speaks of."""
    page = (ROOT / "docs" / "kubernetes.md").read_text()
    commands = re.findall(r"^\$ helm .*goodput-proxy helm/goodput-proxy(.*)", page, re.MULTILINE)

    assert len(commands) >= 3
    for flags in commands:
        given: dict[str, Any] = {}
        for path, text in re.findall(r"--set ([\w.]+)=(\S+)", flags):
            *groups, last = path.split(".")
            place = given
            for group in groups:
                place = place.setdefault(group, {})
            place[last] = yaml.safe_load(text)
        release = render(given, name="goodput-proxy")
        assert given
        assert release.one("PodMonitor")["metadata"]["name"] == "goodput-proxy"
        if given.get("mode") == "standalone":
            (service,) = release.of_kind("Service")
            assert service["metadata"]["name"] == "goodput-proxy"
            assert service["spec"]["ports"][0]["port"] == 8000
