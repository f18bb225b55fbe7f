"""Published limits: the numbers are those of their sources, the names are found."""

from __future__ import annotations

import pytest

from goodput_proxy.presets import PRESETS, check_preset
from goodput_proxy.slo import Limits


@pytest.mark.parametrize(
    ("name", "limits_ms", "objective"),
    [
        ("mlperf/llama2-70b/interactive", (450, 40, None, None), 0.99),
        ("mlperf/llama3.1-405b/server", (6000, 175, None, None), 0.99),
        ("mlperf/gptj/server", (None, None, None, 20_000), 0.99),
        ("guidellm/rag", (300, 100, None, 3000), 0.99),
        ("distserve/chat-opt-175b", (4000, 200, None, None), 0.9),
    ],
)
def test_rows(name: str, limits_ms: tuple[int | None, ...], objective: float) -> None:
    """A row of each kind, with its unit and its objective."""
    preset = PRESETS[name]

    assert Limits(*(ms and ms * 10**6 for ms in limits_ms)) == preset.limits
    assert objective == preset.objective


@pytest.mark.parametrize("name", PRESETS)
def test_each_preset_can_be_judged_by(name: str) -> None:
    """Every preset promises something, to a share of requests, and says who published it."""
    preset = PRESETS[name]

    assert name == check_preset(name)
    assert name == name.lower()
    assert preset.limits.items()
    assert 0 < preset.objective < 1
    assert preset.source.lower().startswith(name.partition("/")[0])


def test_the_interactive_scenario_is_the_stricter_one() -> None:
    """MLPerf has both for a model: whoever mixes them up would be shown."""
    for name, preset in PRESETS.items():
        if name.endswith("/interactive"):
            server = PRESETS[name.replace("interactive", "server")]
            assert (preset.limits.ttft_ns or 0) < (server.limits.ttft_ns or 0)
            assert (preset.limits.itl_ns or 0) < (server.limits.itl_ns or 0)


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("mlperf/llama2-70b/interactve", "mlperf/llama2-70b/interactive"),
        ("llama2-70b", "mlperf/llama2-70b/server, mlperf/llama2-70b/interactive"),
        ("GuideLLM/Chat", "guidellm/chat"),
        ("distserve", "distserve/chat-opt-13b, distserve/chat-opt-66b"),
        ("guidellm/completion", "guidellm/code-completion"),
    ],
)
def test_the_nearest_are_named(name: str, near: str) -> None:
    """Who misspells a name, or gives a part of it, is told what it may have been."""
    with pytest.raises(ValueError, match=f"^'{name}' is not a preset: the nearest are {near}"):
        check_preset(name)


def test_all_are_named_when_none_is_near() -> None:
    """A name that is like none of them is answered with the list."""
    with pytest.raises(ValueError, match="'xyz' is not a preset: there are mlperf/llama2-70b"):
        check_preset("xyz")
