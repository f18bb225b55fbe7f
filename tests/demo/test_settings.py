"""The flags of the demonstration become its options."""

from __future__ import annotations

import pytest

from goodput_proxy.demo.settings import DemoSettings
from goodput_proxy.settings import ConfigError


def test_defaults() -> None:
    """Without flags the demonstration runs until it is interrupted, on free loopback ports."""
    options = DemoSettings.load([]).options()

    assert options.duration_s is None
    assert (options.listen, options.admin_listen) == ("127.0.0.1:0", "127.0.0.1:0")
    assert (options.ttft_limit_ns, options.itl_limit_ns) == (500_000_000, 100_000_000)
    assert type(options.ttft_limit_ns) is int
    assert not options.server_only


def test_flags() -> None:
    """Every flag reaches its option."""
    arguments = ["--for", "1.5s", "--seed", "7", "--slo.ttft", "1s", "--slo.itl", "20ms"]
    options = DemoSettings.load([*arguments, "--server-only", "--listen", ":8000"]).options()

    assert (options.duration_s, options.seed, options.server_only) == (1.5, 7, True)
    assert (options.ttft_limit_ns, options.itl_limit_ns) == (10**9, 20_000_000)
    assert options.listen == "0.0.0.0:8000"


def test_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every variable has the prefix: one that is called `FOR` is somebody else's."""
    monkeypatch.setenv("FOR", "3s")
    monkeypatch.setenv("GOODPUT_DEMO_FOR", "2s")

    assert DemoSettings.load([]).options().duration_s == 2.0


@pytest.mark.parametrize(
    ("arguments", "field"),
    [(["--for", "60"], "for"), (["--slo.itl", "0s"], "slo.itl"), (["--fro", "1s"], "--fro")],
)
def test_bad_flags(arguments: list[str], field: str) -> None:
    """A bad flag is named."""
    with pytest.raises(ConfigError) as caught:
        DemoSettings.load(arguments)

    assert field in caught.value.problems[0]
