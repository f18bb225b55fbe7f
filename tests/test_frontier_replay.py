"""Traffic that is past, asked for other promises: in PromQL, by Prometheus, against a recount."""

from __future__ import annotations

import random
import re
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml
from prometheus_client.parser import text_string_to_metric_families

from goodput_proxy.classify import Route, classify
from goodput_proxy.metrics import Metrics
from goodput_proxy.policy import build_policy
from goodput_proxy.record import End
from goodput_proxy.settings import Settings
from goodput_proxy.tap import InferenceHead, Tap
from tests.conftest import require_program

if TYPE_CHECKING:
    from collections.abc import Iterator

MS, S = 10**6, 10**9
SETTINGS = Settings.model_validate({"slo": {"ttft": "800ms", "itl": "45ms"}})
TOKEN = b'data: {"choices":[{"index":0,"delta":{"content":"x"}}]}\n\n'
END = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
DOCUMENTED = (Path(__file__).parent.parent / "docs" / "metrics.md").read_text()


class Times(NamedTuple):
    """When a client that has a textbook at hand saw the tokens of its stream."""

    t0_ns: int
    tokens_ns: list[int]

    @property
    def ttft_ns(self) -> int:
        """Time to first token."""
        return self.tokens_ns[0] - self.t0_ns

    def meets(self, ttft_ns: float, itl_ns: float) -> bool:
        """Return whether both limits were met; one token has no mean distance to miss one."""
        span_ns = self.tokens_ns[-1] - self.tokens_ns[0]
        return self.ttft_ns <= ttft_ns and span_ns <= itl_ns * max(1, len(self.tokens_ns) - 1)


def traffic(size: int) -> Iterator[Times]:
    """Yield streams whose TTFT and ITL spread over the grid, some of a single token."""
    choices = random.Random(7)
    for i in range(size):
        at_ns = i * S + round(choices.lognormvariate(-0.3, 1.2) * S)
        tokens_ns = [at_ns]
        for _ in range(choices.choice([0, 1, 5, 40])):
            at_ns += round(choices.lognormvariate(-3.2, 0.8) * S)
            tokens_ns.append(at_ns)
        yield Times(i * S, tokens_ns)


def replay(metrics: Metrics, times: Times) -> None:
    """Let a stream pass the meter at these times."""
    route = classify("POST", "/v1/chat/completions")
    assert isinstance(route, Route)
    head = InferenceHead(route, "/v1/chat/completions", [], times.t0_ns)
    tap = Tap(head, build_policy(SETTINGS), metrics, SETTINGS.limits)
    tap.hear(b'{"model":"m","stream":true}')
    tap.ask()
    tap.begin(200, "text/event-stream", "")
    for now_ns in times.tokens_ns:
        tap.feed(TOKEN, now_ns)
    tap.feed(END, times.tokens_ns[-1] + MS)
    tap.finish(End.CLEAN, times.tokens_ns[-1] + 2 * MS)


def test_fifty_other_promises(tmp_path: Path) -> None:
    """The documented query gives what a recount gives, for fifty pairs of limits and the own."""
    promtool = require_program("promtool")
    metrics = Metrics(build_policy(SETTINGS), 32)
    streams = list(traffic(600))
    for times in streams:
        replay(metrics, times)
    body, _ = metrics.render("")
    cells = {
        (sample.labels["ttft_le"], sample.labels["itl_le"]): sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
        if sample.name == "goodput_frontier_requests_total" and sample.labels["model"] == "m"
    }
    assert len(cells) == 13 * 13  # twelve by twelve, and an edge for each limit
    for axis in ({ttft_le for ttft_le, _ in cells}, {itl_le for _, itl_le in cells}):
        edges = sorted(map(float, axis))
        assert all(low < high for low, high in pairwise(edges))

    choices = random.Random(11)
    pairs = [("0.8", "0.045"), *choices.sample(sorted(cells), 50)]
    (query,) = re.findall(r"^# goodput with TTFT.*\n(.*)\n", DOCUMENTED, re.MULTILINE)
    cases: list[dict[str, Any]] = []
    for ttft_le, itl_le in pairs:
        expr = query.replace('"1.0"', f'"{ttft_le}"').replace('"0.05"', f'"{itl_le}"')
        assert (ttft_le == "1.0" and itl_le == "0.05") or expr != query
        met = sum(times.meets(float(ttft_le) * S, float(itl_le) * S) for times in streams)
        samples = [{"labels": "{}", "value": float(met)}]
        cases.append({"expr": f"round(60 * {expr})", "eval_time": "10m", "exp_samples": samples})
    assert len({case["exp_samples"][0]["value"] for case in cases}) > 25  # they differ
    series = [
        {
            "series": f'goodput_frontier_requests_total{{ttft_le="{ttft}",itl_le="{itl}"}}',
            "values": f"0+{value:.0f}x10",
        }
        for (ttft, itl), value in cells.items()
    ]
    test = {"interval": "1m", "input_series": series, "promql_expr_test": cases}
    path = tmp_path / "frontier.yaml"
    path.write_text(yaml.safe_dump({"evaluation_interval": "1m", "tests": [test]}))
    command = [promtool, "test", "rules", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
