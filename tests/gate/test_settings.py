"""The flags of the gate: what each means, and which do not go together."""

from __future__ import annotations

import pytest

from goodput_proxy.gate.settings import GateSettings
from goodput_proxy.settings import ConfigError

PROXY = "--proxy=http://127.0.0.1:9001"
PROMETHEUS = "--prometheus=http://127.0.0.1:9090"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Hide the settings of whoever runs the tests."""
    for name in ("PROXY", "PROMETHEUS", "FOR", "RANGE", "MIN", "MATCH", "OUTPUT"):
        monkeypatch.delenv(f"GOODPUT_GATE_{name}", raising=False)
    return monkeypatch


def test_defaults() -> None:
    """A minute of a proxy or five of a Prometheus, twenty requests, and each class's objective."""
    settings = GateSettings.load([PROXY])

    assert (str(settings.for_), str(settings.range_)) == ("1m", "5m")
    assert (settings.min_, settings.min_requests, settings.output) == (None, 20, "table")
    assert (settings.at, settings.match) == (None, {})


def test_flags() -> None:
    """Every flag reaches its field, `--match` as often as it is given."""
    flags = ["--range=1h", "--at=2026-01-31T12:00:00Z", "--min=0.9", "--output=json"]
    matches = ["--match", "slo=gold", "--match", "job=a=b"]
    settings = GateSettings.load([PROMETHEUS, *flags, *matches])

    assert settings.at is not None
    assert settings.at.timestamp() == 1769860800
    assert (settings.range_.seconds, settings.min_, settings.output) == (3600, 0.9, "json")
    assert settings.match == {"slo": "gold", "job": "a=b"}


def test_environment(environment: pytest.MonkeyPatch) -> None:
    """Every flag has a variable with the prefix of the gate, those that are keywords, too."""
    environment.setenv("GOODPUT_GATE_PROXY", "http://127.0.0.1:9001")
    environment.setenv("GOODPUT_GATE_FOR", "5s")
    environment.setenv("GOODPUT_GATE_MIN", "0.5")
    environment.setenv("GOODPUT_GATE_MATCH", '{"slo": "gold"}')
    settings = GateSettings.load([])

    assert (settings.for_.seconds, settings.min_) == (5, 0.5)
    assert settings.match == {"slo": "gold"}


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ([], "give either --proxy or --prometheus"),
        ([PROXY, PROMETHEUS], "give either --proxy or --prometheus"),
        ([PROXY, "--range=5m"], "--range has no meaning with --proxy"),
        ([PROXY, "--at=0"], "--at has no meaning with --proxy"),
        ([PROMETHEUS, "--for=5m"], "--for has no meaning with --prometheus"),
        (["--proxy=localhost"], "proxy: input should be a valid URL"),
        (["--proxy=unix:/run/x"], "proxy: URL scheme should be 'http' or 'https'"),
        ([PROXY, "--for=60"], "for: '60' has no unit"),
        ([PROXY, "--for=0s"], "for: must be above zero"),
        ([PROMETHEUS, "--range=999ms"], "range: must be at least 1s"),
        ([PROMETHEUS, "--at=2026-01-31T12:00:00"], "at: input should have timezone info"),
        ([PROMETHEUS, "--at=yesterday"], "at: input should be a valid datetime"),
        ([PROXY, "--min=95"], "min: input should be less than or equal to 1"),
        ([PROXY, "--min=0"], "min: input should be greater than 0"),
        ([PROXY, "--min-requests=0"], "min_requests: input should be greater than"),
        ([PROXY, "--match", "gold"], "match: must be KEY=VALUE"),
        ([PROXY, "--match", "slo-class=gold"], "match.slo-class"),
        ([PROXY, "--match", "verdict=good"], "match: a ratio needs every verdict"),
        ([PROXY, "--output=xml"], "output: input should be 'table' or 'json'"),
    ],
)
def test_unusable_flags_cost_one_line(arguments: list[str], problem: str) -> None:
    """What is wrong is said in one line that names the flag."""
    with pytest.raises(ConfigError) as caught:
        GateSettings.load(arguments)

    assert len(caught.value.problems) == 1
    assert caught.value.problems[0].startswith(problem)
