"""The page of recipes, and the reading of it and of what the tools print."""

from __future__ import annotations

import json
import re
import shlex
from collections import Counter

import pytest

from goodput_proxy.gate.settings import GateSettings
from goodput_proxy.settings import Settings
from tests.loadtools.recipes import PAGE, ROOT, find_command, find_limits, point_at
from tests.loadtools.tools import count_sent
from tests.loadtools.watch import Scrape, Watch

TOOLS = ("hey", "wrk", "jmeter", "aiperf", "guidellm", "vllm", "k6")
TEXT = PAGE.read_text("utf-8")


@pytest.mark.parametrize("program", TOOLS)
def test_every_tool_has_a_command_that_sends_to_the_proxy(program: str) -> None:
    """It can be pointed elsewhere, is a line of a shell, and the files that it names exist."""
    command = point_at(find_command(program), 12345)
    named = re.findall(r"examples/load/[\w.]+", command)

    assert "9000" not in command
    assert shlex.split(command)
    assert all((ROOT / name).is_file() for name in named)


def test_every_example_is_used_on_the_page() -> None:
    """No file lies there for nobody, and bodies are JSON."""
    files = sorted((ROOT / "examples" / "load").iterdir())

    assert [file.name for file in files if f"examples/load/{file.name}" not in TEXT] == []
    assert json.loads((ROOT / "examples/load/chat.json").read_text())["stream"] is True
    for line in (ROOT / "examples/load/prompts.jsonl").read_text().splitlines():
        assert list(json.loads(line)) == ["text"]


def test_the_limits_are_the_proxys_flags() -> None:
    """What the page starts is a proxy with an SLO."""
    limits = dict(flag.removeprefix("--slo.").split() for flag in find_limits())
    slo = Settings.model_validate({"slo": limits}).slo

    assert (str(slo.ttft), str(slo.itl)) == ("300ms", "100ms")


def test_the_gate_is_called_by_its_flags() -> None:
    """The page's `gate` is one that exists."""
    flags = re.findall(r"--([a-z-]+)", find_command("goodput-proxy gate").partition("&")[0])

    assert flags == ["proxy", "for"]
    assert {"proxy", "for_"} <= set(GateSettings.model_fields)


def test_a_command_that_is_missing_is_noticed() -> None:
    """A page without a recipe, and a recipe without an address, are no recipes."""
    with pytest.raises(LookupError, match="runs no ab"):
        find_command("ab")
    with pytest.raises(LookupError, match="no address"):
        point_at("wrk -d4s", 1)


@pytest.mark.parametrize(
    ("program", "said", "sent"),
    [
        ("hey", "Status code distribution:\n  [200]\t128 responses\n", 128),
        ("wrk", "  224 requests in 4.01s, 546.41KB read\n", 224),
        ("jmeter", "summary +  9 in 1s =\nsummary =    128 in     3s =   50.6/s Avg:", 128),
        ("aiperf", "│            Request Count (requests) │ 1,128.00 │    N/A │", 1128),
        ("guidellm", "| concurrent@64 | 17:34:11 | 17:34:14 | 2.4 | 0.0 | 0.0 | 128  | 0 |", 128),
    ],
)
def test_what_a_tool_says_is_read(program: str, said: str, sent: int) -> None:
    """The number of its answers, and of nothing else."""
    assert count_sent(program, said) == sent


@pytest.mark.parametrize("program", ["hey", "wrk"])
def test_a_tool_that_says_nothing_has_failed(program: str) -> None:
    """As with hey, when no answer was 200."""
    with pytest.raises(LookupError, match="no number"):
        count_sent(program, "  [502]\t128 responses\n")


@pytest.mark.parametrize(("told", "problems"), [(1, 1), (2, 0), (3, 0), (4, 1)])
def test_a_document_out_of_its_time_is_noticed(told: int, problems: int) -> None:
    """Neither less than was counted before it, nor more than was counted after it."""
    key = ("good", "")
    verdicts = [{"verdict": "good", "cause": "", "ever": told}]
    seen = Watch(
        scrapes=[Scrape(1.0, 2.0, Counter({key: 2})), Scrape(4.0, 5.0, Counter({key: 3}))],
        messages=[{"unix_s": 3.0, "verdicts": verdicts}],
    )
    seen.compare_messages()

    assert len(seen.problems) == problems
