"""One soak of one proxy process, from its start to what it holds at the end."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.integration.fake_upstream import FakeUpstream
from tests.integration.process import serving
from tests.soak.play import CONFIG, FLAGS, Soak, read_counts, settle
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections import Counter

# So much of the time before memory is first read: buffers, caches and pools fill, once.
WARM_UP_SHARE = 0.3
MAX_GROWTH = 0.1


@dataclass(frozen=True)
class Report:
    """What was found."""

    expected: Counter[tuple[str, str]]
    counted: Counter[tuple[str, str]]
    rss_bytes: tuple[int, int]  # after the warm-up, at the end
    descriptors: tuple[int, int]  # before the first request, at the end
    meter_defects: int

    @property
    def requests(self) -> int:
        """How many requests the script has made."""
        return self.expected.total()

    @property
    def problems(self) -> list[str]:
        """What is not as it should be, a line each."""
        found = [
            f"{'/'.join(key)}: counted {self.counted[key]}, expected {self.expected[key]}"
            for key in sorted(self.expected | self.counted)
            if self.counted[key] != self.expected[key]
        ]
        begin, end = self.rss_bytes
        if end > begin * (1 + MAX_GROWTH):
            found.append(f"memory grew from {begin / 1e6:.1f} MB to {end / 1e6:.1f} MB")
        if self.descriptors[1] != self.descriptors[0]:
            found.append(f"descriptors: {self.descriptors[0]}, at the end {self.descriptors[1]}")
        if self.meter_defects:
            found.append(f"{self.meter_defects} defects of the meter")
        return found

    def __str__(self) -> str:
        begin, end = self.rss_bytes
        lines = [f"{'/'.join(key).rstrip('/')}: {n}" for key, n in sorted(self.counted.items())]
        lines.append(f"memory {begin / 1e6:.1f} MB, at the end {end / 1e6:.1f} MB")
        lines.append(f"descriptors {self.descriptors[0]}, at the end {self.descriptors[1]}")
        verdict = "; ".join(self.problems) or "as scripted, and nothing left behind"
        return "\n".join([*lines, f"{self.requests} requests: {verdict}"])


async def soak(for_s: float, seed: int, folder: Path) -> Report:
    """Run the soak against a proxy process of its own."""
    upstream = FakeUpstream()
    await upstream.start()
    config = folder / "soak.yaml"
    config.write_text(CONFIG)
    async with serving(upstream.url, f"--config={config}", *FLAGS) as proxy:
        pid = proxy.process.pid
        await settle(proxy.admin_port)
        descriptors = await _count_descriptors(pid)
        run = Soak(upstream, proxy.port, seed)
        await run.run(for_s * WARM_UP_SHARE)
        await settle(proxy.admin_port)
        rss = _rss_bytes(pid)
        await run.run(for_s * (1 - WARM_UP_SHARE))
        samples = await settle(proxy.admin_port)
        descriptors_left = await _count_descriptors(pid, at_most=descriptors)
        report = Report(
            run.counts,
            read_counts(samples),
            (rss, _rss_bytes(pid)),
            (descriptors, descriptors_left),
            int(samples.total("goodput_tap_errors_total", reason="internal")),
        )
        proxy.signal()
        await proxy.exit_code()
    await upstream.stop()
    return report


async def _count_descriptors(pid: int, at_most: int = 0) -> int:
    """Return how many descriptors a process has open, when idle connections have been closed."""

    def count() -> int:
        return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())

    if at_most:
        with contextlib.suppress(AssertionError):  # the report says so
            await eventually(lambda: count() <= at_most)
    return count()


def _rss_bytes(pid: int) -> int:
    (line,) = (
        line
        for line in Path(f"/proc/{pid}/status").read_text().splitlines()
        if line.startswith("VmRSS:")
    )
    return int(line.split()[1]) * 1024
