"""The documents say what the code does."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from goodput_proxy.classify import Route, classify
from goodput_proxy.cli import main
from goodput_proxy.doubts import find_doubts
from goodput_proxy.gate.settings import GateSettings
from goodput_proxy.metrics import Metrics
from goodput_proxy.policy import build_policy
from goodput_proxy.settings import Settings
from goodput_proxy.stream.candidates import CandidatesDialect
from goodput_proxy.stream.choices import ChoicesDialect
from goodput_proxy.stream.detect import DetectingDialect
from goodput_proxy.stream.endpoints import ENDPOINTS, Api, find_endpoint, is_realtime
from goodput_proxy.stream.llamacpp import LlamaCppDialect
from goodput_proxy.stream.ollama import OllamaDialect
from goodput_proxy.stream.tensors import TensorsDialect
from goodput_proxy.stream.tgi import TgiDialect
from goodput_proxy.stream.typed import TypedDialect
from tests.deploy.promtool import recorded

ROOT = Path(__file__).parent.parent
SETTINGS_PAGES = [ROOT / "docs" / name for name in ("configuration.md", "slo.md")]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
# Whatever else names metrics to people or to programs.
ARTEFACTS = [
    *sorted((ROOT / "examples").glob("*.yaml")),
    *sorted((ROOT / "grafana").glob("*.json")),
    *sorted((ROOT / "prometheus").glob("*.yaml")),
    *(ROOT / name for name in ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")),
    *sorted((ROOT / "helm").rglob("*.yaml")),
    *sorted((ROOT / "helm").rglob("*.t*")),
    *sorted((ROOT / "kustomize").rglob("*.yaml")),
    ROOT / "compose.yaml",
]


def test_reference_pages_are_up_to_date() -> None:
    """The generated parts agree with the settings and the registry."""
    command = [sys.executable, "tools/docs.py", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr


def exported() -> set[str]:
    """Return every name under which the proxy exports something."""
    registry = Metrics(build_policy(Settings()), 32).registry
    names = {name for names in registry._collector_to_names.values() for name in names}
    names |= {f"{name}_{part}" for name in names for part in ("bucket", "count", "sum")}
    # The library's own collectors tell their names only by what they collect.
    return names | {sample.name for family in registry.collect() for sample in family.samples}


@pytest.mark.parametrize("page", [*PAGES, *ARTEFACTS], ids=lambda page: page.name)
def test_named_metrics_exist(page: Path) -> None:
    """Every metric that a page, a rule, a panel or an example names is exported or recorded."""
    text = page.read_text()
    colons = set(re.findall(r"\b[a-z_]+:goodput_[a-z_:0-9]+\b", text))
    for name in colons:
        text = text.replace(name, "")
    named = set(re.findall(r"\b(?:goodput_(?!proxy\b|rps\b)|process_|python_)[a-z_]+\b", text))

    assert colons <= recorded()
    assert named <= exported()


def test_every_metric_is_documented() -> None:
    """Each metric of this program has its row in docs/metrics.md."""
    rows = set(
        re.findall(r"^\| `(goodput_\w+)` \|", (ROOT / "docs/metrics.md").read_text(), re.MULTILINE)
    )
    families = Metrics(build_policy(Settings()), 32).registry.collect()
    suffix = {"counter": "_total", "info": "_info"}
    names = {family.name + suffix.get(family.type, "") for family in families}

    assert rows == {name for name in names if name.startswith("goodput_")}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link of a page names a file of the project."""
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text())

    assert [target for target in targets if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_yaml_of_the_documents_is_yaml(page: Path) -> None:
    """What a reader is to paste into a file can be read."""
    for block in re.findall(r"```yaml\n(.*?)```", page.read_text(), re.DOTALL):
        assert all(isinstance(document, dict) for document in yaml.safe_load_all(block))


def test_the_two_commands_stand_at_the_top() -> None:
    """A reader finds how to run and how to test before anything else."""
    top = "\n".join((ROOT / "README.md").read_text().splitlines()[:20])

    assert "make demo" in top
    assert "make test" in top


# -- settings


@pytest.mark.parametrize("page", SETTINGS_PAGES, ids=lambda page: page.name)
def test_examples_of_settings_are_valid(page: Path) -> None:
    """Every YAML block of a page about settings is a configuration in which nothing is odd."""
    for block in re.findall(r"```yaml\n(.*?)```", page.read_text(), re.DOTALL):
        settings = Settings.model_validate(yaml.safe_load(block))

        assert find_doubts(build_policy(settings)) == []


def test_the_example_of_check_is_what_it_prints(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The page shows what `check` says of the first example on it."""
    text = (ROOT / "docs" / "slo.md").read_text()
    config = tmp_path / "slo.yaml"
    config.write_text(text.partition("```yaml\n")[2].partition("```")[0])
    console = text.partition("```console\n$ goodput-proxy ")[2].partition("```")[0]
    command, _, shown = console.partition("\n")
    arguments = [str(config) if word == "slo.yaml" else word for word in command.split()]

    assert main(arguments) == 0
    assert capsys.readouterr() == (shown, "")


def test_the_flags_of_the_gate_are_documented() -> None:
    """Every flag stands on the page with its variable and its default, and no other does."""
    text = (ROOT / "docs" / "gate.md").read_text()
    rows = re.findall(r"^\| `--([\w-]+)` \| `(\w+)`[^|]* \|[ `]*(.*?)[ `]*\|", text, re.MULTILINE)
    expected = []
    for name, field in GateSettings.model_fields.items():
        flag = (field.alias or name).replace("_", "-")
        default = field.default or ("now" if flag == "at" else "")
        variable = "GOODPUT_GATE_" + flag.replace("-", "_").upper()
        expected.append((flag, variable, str(default)))

    assert sorted(rows) == sorted(expected)


# -- wire formats

# The names by which the page calls the dialects.
DIALECTS = {
    "choices": ChoicesDialect,
    "typed": TypedDialect,
    "detected": DetectingDialect,
    "tgi": TgiDialect,
    "llamacpp": LlamaCppDialect,
    "tensors": TensorsDialect,
    "ollama": OllamaDialect,
    "candidates": CandidatesDialect,
}
FORMATS = re.findall(
    r"^\| [^|]+ \| `(/[^`]*)` \| `(\w+)` \| `(\w+)` \|",
    (ROOT / "docs" / "wire-formats.md").read_text(),
    re.MULTILINE,
)


@pytest.mark.parametrize(("path", "api", "dialect"), FORMATS)
def test_wire_formats_are_those_of_the_dispatch_table(path: str, api: str, dialect: str) -> None:
    """Each path of the page is read as the page says."""
    if api == Api.REALTIME:
        assert is_realtime(path)
        return
    route = classify("POST", path)

    assert isinstance(route, Route)
    assert route.endpoint.api == api
    assert route.endpoint.dialect is DIALECTS[dialect]


def test_the_dispatch_table_is_documented() -> None:
    """Each row of the dispatch table stands on the page."""
    documented = {find_endpoint(path) for path, _, _ in FORMATS}

    assert set(ENDPOINTS) <= documented
