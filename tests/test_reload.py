"""Reloading: what is usable comes into force as a whole, what is not changes nothing."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from goodput_proxy.metrics import Metrics
from goodput_proxy.policy import build_policy
from goodput_proxy.reload import Reloader
from goodput_proxy.settings import Settings
from tests.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path


class Bench:
    """A reloader over a real file, and what it brought into force."""

    def __init__(self, path: Path, text: str) -> None:
        self.path = path
        path.write_text(text)
        self.arguments = [f"--config={path}", "--slo.e2e=9s"]
        settings = self.load()
        self.metrics = Metrics(build_policy(settings), 32)
        self.applied: list[Settings] = []
        self.reloader = Reloader(settings, self.load, self.applied.append, self.metrics)

    def load(self) -> Settings:
        """Read the settings as the command does."""
        return Settings.load(self.arguments)

    @property
    def successful(self) -> float | None:
        """What the metric says of the last attempt."""
        return self.metrics.registry.get_sample_value("goodput_config_last_reload_successful")


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """Return a reloader over a file with one limit."""
    return Bench(tmp_path / "config.yaml", "slo: {ttft: 1s}")


async def test_new_limits(bench: Bench) -> None:
    """Flags still come before the file."""
    bench.path.write_text(
        "slo: {ttft: 2s, e2e: 5s}\nslo_classes: [{name: a, itl: 10ms}]\nslo_headers: {limits: true}"
    )
    assert await bench.reloader.reload()
    (settings,) = bench.applied
    assert (str(settings.slo.ttft), str(settings.slo.e2e)) == ("2s", "9s")
    assert [c.name for c in settings.slo_classes] == ["a"]
    assert settings.slo_headers.limits
    assert bench.successful == 1


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("slo: {ttft: 2}", "slo.ttft"),
        ("slo: {tfft: 2s}", "slo.tfft"),
        ("slo: {", "not YAML"),
        ("slo_classes: [{name: a}, {name: a}]", "slo_classes"),
        (None, "cannot read"),
    ],
)
async def test_an_unusable_file(bench: Bench, text: str | None, problem: str) -> None:
    """It changes nothing, the log names the field, and the metric says so until it is mended."""
    if text is None:
        bench.path.unlink()
    else:
        bench.path.write_text(text)
    with capture_logs() as lines:
        assert not await bench.reloader.reload()
    assert bench.applied == []
    assert bench.successful == 0
    assert [line["log_level"] for line in lines] == ["error"]
    assert problem in lines[0]["problem"]

    bench.path.write_text("slo: {ttft: 3s}")
    assert await bench.reloader.reload()
    assert bench.successful == 1


async def test_what_needs_a_restart(bench: Bench) -> None:
    """It stays as it is and is named; the rest comes into force."""
    bench.path.write_text("slo: {ttft: 2s}\nlisten: 127.0.0.1:1\nlimits: {models: 3}")
    for _ in range(2):  # as often as it is read
        with capture_logs() as lines:
            assert await bench.reloader.reload()
        settings = bench.applied[-1]
        assert (str(settings.slo.ttft), settings.limits.models) == ("2s", 32)
        assert str(settings.listen) == "0.0.0.0:9000"
        late = [line["settings"] for line in lines if line["log_level"] == "warning"]
        assert late == [["listen", "limits"]]


async def test_asked_and_by_itself(bench: Bench) -> None:
    """It reads when it is asked to, and when the file has changed and stands still."""
    running = asyncio.create_task(bench.reloader.run(look_s=0.01))
    await asyncio.sleep(0.05)
    assert bench.applied == []
    bench.reloader.ask()
    await eventually(lambda: len(bench.applied) == 1, "it was asked")
    bench.path.write_text("slo: {ttft: 7s}")
    await eventually(lambda: len(bench.applied) == 2, "the file has changed")
    assert str(bench.applied[-1].slo.ttft) == "7s"
    running.cancel()


async def test_without_a_file(tmp_path: Path) -> None:
    """There is nothing to watch, and a signal reads flags and environment again."""
    bench = Bench(tmp_path / "config.yaml", "")
    bench.arguments = []
    bench.reloader = Reloader(bench.load(), bench.load, bench.applied.append, bench.metrics)
    assert await bench.reloader.reload()
    assert bench.applied == [bench.load()]
