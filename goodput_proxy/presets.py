"""Limits that others have published, by name, each with where it comes from.

The numbers are theirs; how a request is judged by them is ours. Those who set percentiles mean
each limit alone ("99 % of requests within 2 s to the first token, and 99 % within 200 ms per
token"); a class here wants the same share of requests to meet all its limits, which is a little
stricter. DistServe means it as it is done here. MLPerf's TPOT is our ITL.
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from types import MappingProxyType

from .slo import Limits


@dataclass(frozen=True, slots=True)
class Preset:
    """Published limits and the share of requests that they are published for."""

    limits: Limits
    objective: float
    source: str


# `ttft_latency`, `tpot_latency` and `target_latency` of the Server scenario, for 99 % of requests.
# What the file calls `llama2-70b-interactive` is the same scenario with tighter limits.
_MLPERF = "MLPerf Inference, mlcommons/inference, loadgen/mlperf.conf"
# Its examples of objectives for common uses, for 99 % of requests.
_GUIDELLM = "GuideLLM, vllm-project/guidellm, docs/guides/service_level_objectives.md"
# Both limits together for 90 % of requests.
_DISTSERVE = "DistServe, LLMServe/DistServe, evaluation/ae-scripts/e2e/_plot.py"

_FAMILIES = {
    "mlperf": (_MLPERF, 0.99),
    "guidellm": (_GUIDELLM, 0.99),
    "distserve": (_DISTSERVE, 0.9),
}

# Name, then TTFT, ITL and E2E in milliseconds.
_TABLE: tuple[tuple[str, int | None, int | None, int | None], ...] = (
    ("mlperf/llama2-70b/server", 2000, 200, None),
    ("mlperf/llama2-70b/interactive", 450, 40, None),
    ("mlperf/mixtral-8x7b/server", 2000, 200, None),
    ("mlperf/llama3.1-405b/server", 6000, 175, None),
    ("mlperf/llama3.1-405b/interactive", 4500, 80, None),
    ("mlperf/llama3.1-8b/server", 2000, 100, None),
    ("mlperf/llama3.1-8b/interactive", 500, 30, None),
    ("mlperf/deepseek-r1/server", 2000, 80, None),
    ("mlperf/deepseek-r1/interactive", 1500, 15, None),
    ("mlperf/gpt-oss-120b/server", 3000, 80, None),
    ("mlperf/gpt-oss-120b/interactive", 2000, 15, None),
    ("mlperf/gptj/server", None, None, 20_000),
    ("mlperf/qwen3-vl-235b/server", None, None, 12_000),
    ("guidellm/chat", 200, 50, None),
    ("guidellm/rag", 300, 100, 3000),
    ("guidellm/agent", None, None, 5000),
    ("guidellm/content-generation", 600, 200, None),
    ("guidellm/code-generation", 500, 150, None),
    ("guidellm/code-completion", None, None, 2000),
    ("distserve/chat-opt-13b", 250, 100, None),
    ("distserve/chat-opt-66b", 400, 100, None),
    ("distserve/chat-opt-175b", 4000, 200, None),
    ("distserve/humaneval-opt-66b", 125, 200, None),
    ("distserve/longbench-opt-66b", 15_000, 150, None),
)


def _ns(limit_ms: int | None) -> int | None:
    return None if limit_ms is None else limit_ms * 10**6


def _preset(name: str, ttft_ms: int | None, itl_ms: int | None, e2e_ms: int | None) -> Preset:
    source, objective = _FAMILIES[name.partition("/")[0]]
    limits = Limits(ttft_ns=_ns(ttft_ms), itl_ns=_ns(itl_ms), e2e_ns=_ns(e2e_ms))
    return Preset(limits, objective, source)


PRESETS = MappingProxyType({row[0]: _preset(*row) for row in _TABLE})


def check_preset(name: str) -> str:
    """Return the name of a preset.

    Raises:
        ValueError: when there is none of that name; the message has those that are near.
    """
    if name in PRESETS:
        return name
    text = name.lower()
    near = [known for known in PRESETS if text in known] or get_close_matches(text, PRESETS)
    hint = f"the nearest are {', '.join(near)}" if near else f"there are {', '.join(PRESETS)}"
    raise ValueError(f"{name!r} is not a preset: {hint}")
