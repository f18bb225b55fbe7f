"""Every query in the documents gives the number that it is said to give.

Prometheus itself evaluates them, on series whose sums are known. Each series of requests grows by a
power of two, so that no two sets of series have the same sum: a query that takes one verdict more
or one fewer gives another number.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from goodput_proxy.metrics import Metrics
from goodput_proxy.policy import build_policy
from goodput_proxy.settings import Settings
from tests.deploy.promtool import run_rules

DOCS = Path(__file__).parent.parent / "docs"
PAGES = ("metrics.md", "semantics.md")

# For an hour every request was good, so many a second; what follows is the present.
CALM_RPS = 4
CALM_MINUTES, MINUTES = 60, 140
RPS = {
    'goodput_requests_total{verdict="good",cause=""}': 64,
    'goodput_requests_total{verdict="good_partial",cause=""}': 32,
    'goodput_requests_total{verdict="slow",cause="ttft"}': 16,
    'goodput_requests_total{verdict="slow",cause="itl"}': 8,
    'goodput_requests_total{verdict="error",cause="truncated"}': 4,
    'goodput_requests_total{verdict="error",cause="stream_error"}': 2,
    'goodput_requests_total{verdict="error",cause="http_5xx"}': 1,
    'goodput_requests_total{verdict="client_error",cause="http_4xx"}': 128,
    'goodput_requests_total{verdict="cancelled",cause="client"}': 256,
    "goodput_slo_compliant_requests_total": 96,
    'goodput_slo_violations_total{dimension="ttft"}': 16,
    'goodput_slo_violations_total{dimension="itl"}': 11,  # three requests missed both
    'goodput_output_tokens_total{verdict="good"}': 1024,
    'goodput_output_tokens_total{verdict="good_partial"}': 32,
    'goodput_output_tokens_total{verdict="slow"}': 512,
    'goodput_input_tokens_total{verdict="good"}': 4096,
    'goodput_input_tokens_total{verdict="good_partial"}': 2048,
    'goodput_time_to_first_token_seconds_bucket{le="0.5"}': 72,
    'goodput_time_to_first_token_seconds_bucket{le="1.0"}': 80,
    "goodput_time_to_first_token_seconds_count": 88,
    'goodput_frontier_requests_total{ttft_le="0.5",itl_le="0.05"}': 40,
    'goodput_frontier_requests_total{ttft_le="1.0",itl_le="0.05"}': 50,
    'goodput_frontier_requests_total{ttft_le="1.0",itl_le="+Inf"}': 110,
    **{
        f'goodput_load_requests_total{{slo="default",in_flight="{band}",compliant="{met}"}}': n
        for band, good, bad in (("4", 9, 1), ("8", 19, 1), ("16", 8, 2), ("32", 0.025, 0))
        for met, n in (("true", good), ("false", bad))
    },
}
CALM = {
    'goodput_requests_total{verdict="good",cause=""}',
    "goodput_slo_compliant_requests_total",
}
GAUGES = {
    "goodput_slo_objective_ratio": 0.5,
    'goodput_slo_objective_ratio{slo="default"}': 0.9,
    **{f'goodput_load_band_requests{{in_flight="{band}"}}': band for band in (4, 8, 16, 32)},
}

GOOD, ANSWERED, JUDGED, ALL = 64 + 32, 64 + 32 + 16 + 8, 127, 511
BY_LOAD = {
    '{in_flight="4"}': 0.9,
    '{in_flight="8"}': 0.95,
    '{in_flight="16"}': 0.8,
    '{in_flight="32"}': 1,
}
# What the queries of each page make of them, by the beginning of what they claim to be.
EXPECTED: dict[str, dict[str, dict[str, float]]] = {
    "metrics.md": {
        "goodput: ": {"{}": GOOD},
        "throughput: ": {"{}": ANSWERED},
        "offered load: ": {"{}": ALL},
        "goodput ratio": {"{}": GOOD / JUDGED},
        "(\n  sum by (slo)": {},  # the alert: 31 of 127 bad, which half an objective allows
        "goodput with TTFT <= 1 s AND ITL <= 50 ms": {"{}": 50},
        "its ratio": {"{}": 50 / JUDGED},
        "by concurrency: goodput ratio": BY_LOAD,
        "of bands with at least 100 requests": {"{}": 8},  # 16 misses too many, 32 has too few
    },
    "semantics.md": {
        "goodput; vLLM and SGLang bench `request_goodput`": {"{}": GOOD},
        "the same, spelled out": {"{}": GOOD},
        "AIPerf and GenAI-Perf `goodput`, inference-perf": {"{}": 64},
        "lenient clients": {"{}": 64 + 32 + 4 + 2},
        "throughput: vLLM and AIPerf `request_throughput`": {"{}": ANSWERED},
        "offered load": {"{}": ALL},
        "goodput ratio": {"{}": GOOD / JUDGED},
        "AIPerf `good_request_fraction`": {"{}": 64 / ALL},
        "SGLang `slo_attainment`, DistServe attainment": {"{}": GOOD / ALL},
        "inference-perf goodput percentage": {"{}": 100 * 64 / ANSWERED},
        "SGLang attainment of one metric, here TTFT": {"{}": (ANSWERED - 16) / ALL},
        "llm-d `request_slo_violation_total`": {'{dimension="ttft"}': 16, '{dimension="itl"}': 11},
        "DistServe goodput at 90 %": {"{}": CALM_RPS},  # the load of the hour when all was good
        "DistServe's curve: attainment by load": BY_LOAD,
        "goodput in tokens per second: Dynamo's replay": {"{}": 1024 + 32},
        "inference-perf `token_goodput`": {"{}": 1024 + 4096},
        "share within one limit": {"{}": 72 / 88},
        "goodput of any other pair of limits": {"{}": 40},
    },
}


# A row of a table with a query in its second cell.
_ROW = r"^\| (.+?) \| `([^`]*\([^`]*goodput_[^`]*)` \|"


def queries_of(page: str) -> dict[str, str]:
    """Return the queries of a page by what they claim to be: in blocks, and in tables."""
    text = (DOCS / page).read_text()
    queries = {}
    for block in re.findall(r"```promql\n(.*?)```", text, re.DOTALL):
        for paragraph in block.split("\n\n"):
            claim, _, query = paragraph.rpartition("# ")[2].partition("\n")
            if paragraph.startswith("# "):
                queries[claim] = query
            else:
                queries[paragraph] = paragraph
    for claim, query in re.findall(_ROW, text, re.MULTILINE):
        queries[claim] = query.replace("\\|", "|")
    return queries


def samples_of(series: str, rps: float) -> str:
    """Return a series in promtool's notation, one sample a minute: the calm, then the present."""
    calm, step = 60 * (CALM_RPS if series in CALM else 0), 60 * rps
    begin = CALM_MINUTES * calm + step
    return f"0+{calm}x{CALM_MINUTES} {begin}+{step}x{MINUTES - CALM_MINUTES - 1}"


@pytest.mark.parametrize("page", PAGES)
def test_queries_give_what_they_claim(page: str, tmp_path: Path) -> None:
    """Prometheus runs every query of the page and gets the sum that it stands for, exactly."""
    queries, expected = queries_of(page), EXPECTED[page]
    cases, found = [], []
    for claim, query in queries.items():
        matching = [begin for begin in expected if claim.startswith(begin)]
        assert len(matching) == 1, f"{claim!r} is expected to be {matching}"
        found += matching
        values = expected[matching[0]].items()
        samples = [{"labels": labels, "value": value} for labels, value in values]
        cases.append({"expr": query, "eval_time": f"{MINUTES}m", "exp_samples": samples})
    series = {name: samples_of(name, rps) for name, rps in RPS.items()}
    series |= {name: f"{value}x{MINUTES}" for name, value in GAUGES.items()}

    run_rules(tmp_path, series, expected=cases)
    assert sorted(found) == sorted(expected)  # each once, and none has been overlooked


@pytest.mark.parametrize("page", PAGES)
def test_queries_name_values_that_exist(page: str) -> None:
    """A verdict, cause, dimension or edge in a query is one that the proxy gives."""
    metrics = Metrics(build_policy(Settings()), 32)
    known: dict[str, set[str]] = {}
    for family in metrics.registry.collect():
        for sample in family.samples:
            for label, value in sample.labels.items():
                known.setdefault(label, set()).add(value)
    text = "\n".join(queries_of(page).values())
    for label, values in re.findall(r'(\w+)=~?"([^"]*)"', text):
        assert set(values.split("|")) <= known[label], f"{label}={values}"


def test_the_series_are_those_of_the_proxy() -> None:
    """What the queries are tried on has names and labels that the proxy exports."""
    metrics = Metrics(build_policy(Settings()), 32)
    known: dict[str, set[str]] = {}
    for family in metrics.registry.collect():
        for sample in family.samples:
            known.setdefault(sample.name, set()).update(sample.labels)
    for series in (*RPS, *GAUGES):
        name, _, labels = series.partition("{")
        assert set(re.findall(r"(\w+)=", labels)) <= known[name], series
