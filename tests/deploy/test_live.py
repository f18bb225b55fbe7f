"""Rules, panels and examples on real data: a proxy under load, scraped by a real Prometheus.

The whole run is one fixture; the tests look at what it left in Prometheus.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
import yaml

from tests.deploy.grafana import FILES, fill_in, load, queries, query_of
from tests.deploy.promtool import ROOT, alerts, promtool, recorded
from tests.deploy.traffic import GOOD_MODEL, SLOW_MODEL, WORKERS, Ran, traffic

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.deploy.prometheus import Labels

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ran(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Ran]:
    """Run everything once; the tests look at what it left behind."""
    async with traffic(tmp_path_factory.mktemp("live")) as ran:
        yield ran


# -- everything returns data


async def test_every_recording_rule_returns_data(ran: Ran) -> None:
    """Each is evaluated without an error, for targets with a namespace and without one."""
    for rule in await ran.prometheus.rules():
        assert rule["health"] == "ok", rule
    for name in recorded():
        found = await ran.prometheus.ask(name)
        jobs = {dict(labels)["job"]: dict(labels).get("namespace") for labels in found}
        assert jobs == {"vllm": "inference", "bare": None}, name


# Queries that may have nothing to show, with the reason.
SILENT = {("proxy", "Certificates end in", "A"): "this proxy has no certificate"}


async def test_every_query_of_every_panel_returns_data(ran: Ran) -> None:
    """With everything chosen, as a dashboard opens, no panel is empty and no legend has a gap.

    Each is asked as Grafana would: for the last minutes, or for this moment where it is a table.
    """
    empty, gaps = [], []
    for asked in queries():
        expr = fill_in(asked.expr)
        found = await (ran.prometheus.ask(expr) if asked.instant else ran.prometheus.course(expr))
        if bool(found) == (asked[:3] in SILENT):
            empty.append(asked[:3])
        wanted = set(re.findall(r"\{\{(\w+)\}\}", asked.legend))
        labels = {label for series in found for label, _ in series}
        if found and not wanted <= labels:
            gaps.append((asked[:3], wanted - labels))

    assert empty == []
    assert gaps == []


async def test_every_variable_has_values(ran: Ran) -> None:
    """Each list is filled from labels of real series; `All` is more than the list."""
    found: dict[str, set[str]] = {}
    for path in FILES:
        for variable in load(path)["templating"]["list"]:
            if variable["type"] != "query":
                continue
            parts = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["definition"])
            assert parts
            series = await ran.prometheus.ask(fill_in(parts[1]))
            values = {dict(labels).get(parts[2], "") for labels in series}
            found.setdefault(variable["name"], set()).update(values)

    assert len(found.pop("instance")) == 1
    assert found == {
        "namespace": {"inference", ""},  # the one without a namespace is seen as well
        "job": {"vllm", "bare"},
        "model": {GOOD_MODEL, SLOW_MODEL, "unknown"},
        "slo": {"interactive", "strict", "default"},
    }


# -- and the right data


async def test_goodput_ratio(ran: Ran) -> None:
    """The tile and the lines of the classes are what was sent, counted by hand."""
    good, judged = len(ran.good), ran.judged
    tile = fill_in(query_of("overview", "Goodput ratio"), job="vllm")
    lines = fill_in(query_of("overview", "Goodput ratio by class"), job="vllm")

    assert await ran.prometheus.value(tile) == pytest.approx(good / judged)
    by_class = await ran.prometheus.ask(lines)
    assert by_class == {
        frozenset({("slo", "interactive")}): 1,
        frozenset({("slo", "strict")}): 0,
        frozenset({("slo", "default")}): 0,
    }


async def test_burn_and_budget(ran: Ran) -> None:
    """Where every request is bad the budget burns 1 / (1 - objective) times as fast as it may."""
    strict = '{job="vllm",slo="strict"}'
    share = f"namespace_job_slo:goodput_requests_bad_per_judged:ratio_rate1h{strict}"
    burn = fill_in(query_of("overview", "Burn rate, 1 h"), job="vllm", slo="strict")
    left = f"namespace_job_slo:goodput_error_budget_left:ratio_rate30d{strict}"
    month = f"namespace_job_slo:goodput_requests_bad_per_judged:ratio_rate30d{strict}"

    assert await ran.prometheus.value(share) == pytest.approx(1)
    assert await ran.prometheus.value(burn) == pytest.approx(1 / 0.05)
    # A scrape between two rules leaves a trace in a sum that has seen a dozen evaluations.
    assert await ran.prometheus.value(month) == pytest.approx(1, rel=0.3)
    assert await ran.prometheus.value(f"{left} + {month} / 0.05") == pytest.approx(1)


async def test_goodput_in_tokens(ran: Ran) -> None:
    """Good tokens against all tokens is what the clients have counted themselves."""
    good = sum(record.output_tokens for record in ran.good)
    slow = sum(record.output_tokens for record in ran.slow)
    panel = "Goodput against throughput"
    all_tokens, good_tokens = (
        fill_in(query_of("overview", panel, ref), job="vllm") for ref in "CD"
    )
    share = await ran.prometheus.value(f"({good_tokens}) / ({all_tokens})")

    assert share == pytest.approx(good / (good + slow))


async def test_frontier(ran: Ran) -> None:
    """Of other limits: none would have met 1 us, all who were answered met the widest."""
    query = fill_in(query_of("overview", "Goodput ratio of other limits"), job="vllm")
    cells = {
        (float(dict(labels)["ttft_le"]), float(dict(labels)["itl_le"])): value
        for labels, value in (await ran.prometheus.ask(query)).items()
    }

    assert cells[0.000001, 10.0] == 0
    assert cells[60.0, 10.0] == pytest.approx((len(ran.good) + len(ran.slow)) / ran.judged)


async def test_knee(ran: Ran) -> None:
    """Two users are never more than two in flight; the bands hold every judged request."""
    panel = "Goodput ratio by requests in flight"
    bands, counts, numbers = [
        {
            int(dict(labels)["in_flight"]): value
            for labels, value in (
                await ran.prometheus.ask(
                    fill_in(query_of("overview", panel, ref), job="vllm", slo=slo)
                )
            ).items()
        }
        for ref, slo in (("A", "strict"), ("B", "strict"), ("C", ".*"))
    ]

    assert set(bands.values()) == {0}
    assert set(counts) <= {1, 2}
    assert numbers == {band: band for band in numbers}


async def test_workers(ran: Ran) -> None:
    """The workers are counted, each has used processor time, and none of them was replaced."""

    async def shown(panel: str) -> dict[Labels, float]:
        return await ran.prometheus.ask(fill_in(query_of("proxy", panel), job="vllm"))

    used = await shown("CPU by worker")

    assert set((await shown("Processes that take requests")).values()) == {WORKERS}
    assert {dict(labels)["worker"] for labels in used} == {str(n) for n in range(WORKERS)}
    assert all(used.values())
    assert set((await shown("Workers that ended unasked")).values()) == {0}
    assert set((await shown("Requests that nobody counted")).values()) == {0}


async def test_models_table(ran: Ran) -> None:
    """Each model has a line: one always good, one never; and what failed before it was read."""
    ratios = await ran.prometheus.ask(fill_in(query_of("overview", "By model", "C"), job="vllm"))

    assert ratios == {
        frozenset({("model", GOOD_MODEL)}): 1,
        frozenset({("model", SLOW_MODEL)}): 0,
        frozenset({("model", "unknown")}): 0,
    }


# -- alerts


async def test_alerts_see_what_happened(ran: Ran) -> None:
    """The class that is never good has all alerts of the budget; one that is always good has none.

    They are pending: to fire they need minutes. Two failures are too few for any alert. Whether
    this machine has CPU to spare is not asked here.
    """
    expected = {
        ("GoodputErrorBudgetBurn", "strict"),
        ("GoodputErrorBudgetLow", "strict"),
        ("GoodputCollapsed", "strict"),
    }

    async def seen() -> bool:
        active = {
            (alert["labels"]["alertname"], alert["labels"].get("slo"))
            for rule in await ran.prometheus.rules()
            for alert in rule.get("alerts", ())
            if alert["labels"].get("job") == "vllm"
        }
        return active - {("GoodputProxySaturated", None)} == expected

    await ran.prometheus.until(seen, "the alerts of class strict and no others")


# -- examples and pages

QUERY_KEYS = {"query", "error_query", "total_query", "metric", "metricsQuery", "seriesQuery"}
ADAPTER = {
    "<<.Series>>": "{series}",
    "<<.LabelMatchers>>": 'namespace="inference"',
    "<<.GroupBy>>": "namespace, pod",
}


def strings(value: Any, key: str = "") -> Iterator[tuple[str, str, Any]]:
    """Yield each string inside a value with its key and the object that holds it."""
    for name, inner in value.items() if isinstance(value, dict) else ():
        if isinstance(inner, str):
            yield name, inner, value
        yield from strings(inner, name)
    for inner in value if isinstance(value, list) else ():
        yield from strings(inner, key)


def example_queries() -> list[Any]:
    """Return every query of every example, its placeholders replaced as its tool would."""
    found: list[Any] = []
    for path in sorted((ROOT / "examples").glob("*.yaml")):
        for document in yaml.safe_load_all(path.read_text()):
            for key, text, holder in strings(document):
                if key not in QUERY_KEYS:
                    continue
                query = text.replace("{{.window}}", "5m")
                for placeholder, value in ADAPTER.items():
                    series = holder.get("seriesQuery", "").partition("{")[0]
                    query = query.replace(placeholder, value.format(series=series))
                found.append(pytest.param(query, id=f"{path.stem}-{key}-{len(found)}"))
    return found


@pytest.mark.parametrize("query", example_queries())
async def test_queries_of_examples_return_data(ran: Ran, query: str) -> None:
    """What Sloth, Pyrra, OpenSLO, KEDA and prometheus-adapter would ask has an answer."""
    assert await ran.prometheus.ask(query)


async def test_keda_gets_one_number(ran: Ran) -> None:
    """Several answers are an error to KEDA; with none it does not scale."""
    document = yaml.safe_load((ROOT / "examples" / "keda.yaml").read_text())
    in_flight, burn = [trigger["metadata"]["query"] for trigger in document["spec"]["triggers"]]

    assert await ran.prometheus.value(in_flight) == 0
    # Of class strict every request is slow, which burns a budget of 5 % twenty times too fast.
    assert await ran.prometheus.value(burn.replace("[2m]", "[5m]")) == pytest.approx(1 / 0.05)


async def test_queries_of_pages_are_understood(ran: Ran) -> None:
    """Prometheus takes every query that a page tells a reader to run; some hope for no answer."""
    asked = 0
    for page in sorted((ROOT / "docs").rglob("*.md")):
        for block in re.findall(r"```promql\n(.*?)```", page.read_text(), re.DOTALL):
            for query in block.split("\n\n"):
                await ran.prometheus.ask(query)
                asked += 1

    assert asked > 2 * len({rule["alert"] for rule in alerts()})


async def test_the_example_of_a_prometheus_is_one() -> None:
    """Promtool accepts it, rules and all."""
    assert "SUCCESS" in promtool("check", "config", ROOT / "examples" / "prometheus.yaml")
