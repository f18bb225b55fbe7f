"""The flags of the demonstration become its options."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from goodput_proxy.demo.records import Limits
from goodput_proxy.demo.scenarios import RAMP, SCENARIOS
from goodput_proxy.demo.settings import DemoSettings
from goodput_proxy.settings import ConfigError


def test_defaults() -> None:
    """Without flags the demonstration runs until it is interrupted, on free loopback ports."""
    options = DemoSettings.load([]).options()

    assert options.duration_s is None
    assert (options.listen, options.admin_listen) == ("127.0.0.1:0", "127.0.0.1:0")
    assert options.scenario == RAMP
    assert type(options.scenario.limits.ttft_ns) is int
    assert (options.server_only, options.sweep, options.out) == (False, False, None)


def test_flags() -> None:
    """Every flag reaches its option."""
    arguments = ["--for", "1.5s", "--seed", "7", "--slo.ttft", "1s", "--slo.itl", "20ms"]
    arguments += ["--slo.stall", "50ms", "--scenario", "overload", "--sweep", "--out", "a/b"]
    options = DemoSettings.load([*arguments, "--server-only", "--listen", ":8000"]).options()

    assert (options.duration_s, options.seed, options.server_only) == (1.5, 7, True)
    limits = Limits(10**9, 20_000_000, 50_000_000)
    assert options.scenario == replace(SCENARIOS["overload"], limits=limits)
    assert (options.sweep, options.out) == (True, Path("a/b"))
    assert options.listen == "0.0.0.0:8000"


@pytest.mark.parametrize("name", SCENARIOS)
def test_auto_is_as_long_as_the_scenario_takes(name: str) -> None:
    """`make demo` runs every scenario to its end, and a sweep by its levels."""
    options = DemoSettings.load(["--for", "auto", "--scenario", name]).options()
    assert options.duration_s == SCENARIOS[name].duration_s
    sweep = DemoSettings.load(["--for", "auto", "--scenario", name, "--sweep"]).options()
    assert (sweep.duration_s, sweep.level_s) == (None, SCENARIOS[name].level_s)


def test_the_last_one_counts() -> None:
    """What is added to the flags of `make demo` is stronger."""
    options = DemoSettings.load(["--for", "auto", "--for", "3s"]).options()
    assert options.duration_s == 3.0


def test_a_sweep_divides_its_time() -> None:
    """With a given time every level has the same share of it."""
    options = DemoSettings.load(["--for", "14s", "--sweep"]).options()
    assert options.levels == [1, 2, 4, 8, 16, 32, 64]
    assert options.level_s == 2.0


def test_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every variable has the prefix: one that is called `FOR` is somebody else's."""
    monkeypatch.setenv("FOR", "3s")
    monkeypatch.setenv("GOODPUT_DEMO_FOR", "2s")

    assert DemoSettings.load([]).options().duration_s == 2.0


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        (["--for", "60"], "for"),
        (["--for", "0s"], "for"),
        (["--slo.itl", "0s"], "slo.itl"),
        (["--fro", "1s"], "--fro"),
        (["--scenario", "calm"], "scenario: there is no 'calm'; there are ramp, steady, overload"),
    ],
)
def test_bad_flags(arguments: list[str], field: str) -> None:
    """A bad flag is named."""
    with pytest.raises(ConfigError) as caught:
        DemoSettings.load(arguments)

    assert field in caught.value.problems[0]
