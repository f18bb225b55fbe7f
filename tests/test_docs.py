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
from tests.conftest import require_program
from tests.deploy.promtool import recorded

ROOT = Path(__file__).parent.parent
SETTINGS_PAGES = [ROOT / "docs" / name for name in ("configuration.md", "slo.md")]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
# Whatever else names metrics to people or to programs.
ARTEFACTS = [
    *sorted((ROOT / "examples").glob("*.yaml")),
    *sorted((ROOT / "grafana").glob("*.json")),
    *sorted((ROOT / "prometheus").glob("*.yaml")),
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


# -- queries

# Requests per second by verdict and cause; the sums of all tools can be told apart.
RATES = {
    'goodput_requests_total{verdict="good",cause=""}': 4,
    'goodput_requests_total{verdict="good_partial",cause=""}': 2,
    'goodput_requests_total{verdict="slow",cause="ttft"}': 2,
    'goodput_requests_total{verdict="error",cause="truncated"}': 1,
    'goodput_requests_total{verdict="error",cause="http_5xx"}': 1,
    'goodput_requests_total{verdict="client_error",cause="http_4xx"}': 3,
    'goodput_requests_total{verdict="cancelled",cause="client"}': 3,
    "goodput_slo_compliant_requests_total": 6,
    'goodput_slo_violations_total{dimension="ttft"}': 2,
    'goodput_slo_violations_total{dimension="itl"}': 1,
    'goodput_output_tokens_total{verdict="good"}': 40,
    'goodput_output_tokens_total{verdict="good_partial"}': 2,
    'goodput_output_tokens_total{verdict="slow"}': 20,
    'goodput_input_tokens_total{verdict="good"}': 100,
    'goodput_time_to_first_token_seconds_bucket{le="0.5"}': 6,
    "goodput_time_to_first_token_seconds_count": 8,
    'goodput_frontier_requests_total{ttft_le="1.0",itl_le="0.05"}': 5,
    'goodput_frontier_requests_total{ttft_le="1.0",itl_le="+Inf"}': 7,
    **{
        f'goodput_load_requests_total{{slo="default",in_flight="{band}",compliant="{met}"}}': n
        for band, good, bad in (("4", 9, 1), ("8", 19, 1), ("16", 8, 2), ("32", 0.025, 0))
        for met, n in (("true", good), ("false", bad))
    },
}
GAUGES = {
    "goodput_slo_objective_ratio": 0.5,
    'goodput_slo_objective_ratio{slo="default"}': 0.9,
    **{f'goodput_load_band_requests{{in_flight="{band}"}}': band for band in (4, 8, 16, 32)},
}
# What the queries of docs/metrics.md make of them, by the beginning of what they claim to be.
EXPECTED: dict[str, dict[str, float]] = {
    "goodput: ": {"{}": 6},
    "throughput: ": {"{}": 8},
    "offered load: ": {"{}": 16},
    "goodput ratio": {"{}": 6 / 10},
    "AIPerf, inference-perf and GenAI-Perf `goodput`": {"{}": 4},
    "vLLM and SGLang bench `request_goodput`": {"{}": 6},
    "AIPerf `good_request_fraction`": {"{}": 4 / 16},
    "SGLang `slo_attainment`, DistServe attainment": {"{}": 6 / 16},
    "inference-perf goodput percentage": {"{}": 50},
    "AIPerf with a local tokenizer": {"{}": 7},
    "SGLang attainment of one metric, here TTFT": {"{}": 6 / 16},
    "DistServe goodput at 90 % attainment": {},  # it never was that good
    "llm-d `request_slo_violation_total`": {'{dimension="ttft"}': 2, '{dimension="itl"}': 1},
    "inference-perf `token_goodput`": {"{}": 140},
    "Dynamo's goodput in tokens per second": {"{}": 42},
    "share within the TTFT limit alone": {"{}": 6 / 8},
    "goodput with TTFT <= 1 s AND ITL <= 50 ms": {"{}": 5},
    "its ratio": {"{}": 5 / 10},
    "by concurrency: goodput ratio": {
        '{in_flight="4"}': 0.9,
        '{in_flight="8"}': 0.95,
        '{in_flight="16"}': 0.8,
        '{in_flight="32"}': 1,
    },
    "of bands with at least 100 requests": {"{}": 8},  # 16 is not good enough, 32 has too few
}


def documented_queries() -> dict[str, str]:
    """Return the queries of docs/metrics.md by what they claim to be."""
    text = (ROOT / "docs" / "metrics.md").read_text()
    queries = {}
    for block in re.findall(r"```promql\n(.*?)```", text, re.DOTALL):
        for paragraph in block.split("\n\n"):
            claim, _, query = paragraph.rpartition("# ")[2].partition("\n")
            if paragraph.startswith("# "):
                queries[claim] = query
            else:
                queries[paragraph] = paragraph
    for claim, query in re.findall(r"^\| (.+) \| `(.+\[5m\].*)` \|$", text, re.MULTILINE):
        queries[claim] = query.replace("\\|", "|")
    return queries


def test_documented_queries_give_what_they_claim(tmp_path: Path) -> None:
    """Prometheus itself runs every query of the page and gets the sum that it stands for."""
    promtool = require_program("promtool")
    queries = documented_queries()
    cases = []
    for claim, query in queries.items():
        matching = [values for begin, values in EXPECTED.items() if claim.startswith(begin)]
        assert len(matching) == 1 or claim == query, f"no expectation for {claim!r}"
        samples = [{"labels": k, "value": v} for values in matching for k, v in values.items()]
        cases.append({"expr": query, "eval_time": "80m", "exp_samples": samples})
    series = [{"series": s, "values": f"0+{60 * rate}x80"} for s, rate in RATES.items()]
    series += [{"series": s, "values": f"{value}x80"} for s, value in GAUGES.items()]
    tests = [{"interval": "1m", "input_series": series, "promql_expr_test": cases}]
    path = tmp_path / "queries.yaml"
    path.write_text(yaml.safe_dump({"evaluation_interval": "1m", "tests": tests}))
    command = [promtool, "test", "rules", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    assert len(queries) > len(EXPECTED)  # all were found, and the alert


def test_queries_name_values_that_exist() -> None:
    """A verdict, cause or dimension in a documented query is one that the proxy gives."""
    metrics = Metrics(build_policy(Settings()), 32)
    known: dict[str, set[str]] = {}
    for family in metrics.registry.collect():
        for sample in family.samples:
            for label, value in sample.labels.items():
                known.setdefault(label, set()).add(value)
    text = "\n".join(documented_queries().values())
    for label, values in re.findall(r'(\w+)=~?"([^"]*)"', text):
        assert set(values.split("|")) <= known[label], f"{label}={values}"
