"""Server, proxy and users stand ready for a run, apart from all that is around it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from goodput_proxy.demo.records import Limits
from goodput_proxy.demo.scenarios import RAMP
from goodput_proxy.demo.stage import proxy_settings
from goodput_proxy.slo import Limits as Promised

if TYPE_CHECKING:
    import pytest

MS = 1_000_000


def test_environment_of_the_sidecar_does_not_apply(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the environment promises to real traffic is not what the demonstration judges by."""
    monkeypatch.setenv("GOODPUT_SLO__E2E", "1ms")
    monkeypatch.setenv("GOODPUT_CONFIG", "/nonexistent.yaml")
    for stall_ns in (None, 300 * MS):
        scenario = replace(RAMP, limits=Limits(250 * MS, 100 * MS, stall_ns))
        settings = proxy_settings(scenario, "http://127.0.0.1:1", "127.0.0.1:0", "127.0.0.1:0")
        assert settings.slo.limits() == Promised(250 * MS, 100 * MS, stall_ns)
