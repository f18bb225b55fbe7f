"""A real Prometheus with a past that a test has written.

promtool makes it from OpenMetrics text, with times of the test's own choice, so that what a query
has to answer can be worked out by hand.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from tests.deploy.prometheus import running
from tests.deploy.promtool import promtool

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from pathlib import Path

START_S = 1_700_000_000
STEP_S = 15


def openmetrics(series: Mapping[str, Sequence[float]]) -> str:
    """Return the past: each series (`name{labels}`) has these values, one every `STEP_S`."""
    families: dict[str, list[str]] = {}
    for labelled, values in series.items():
        name = labelled.partition("{")[0]
        kind = "counter" if name.endswith("_total") else "gauge"
        family = families.setdefault(name, [f"# TYPE {name.removesuffix('_total')} {kind}"])
        family += [f"{labelled} {v} {START_S + i * STEP_S}" for i, v in enumerate(values)]
    return "\n".join([*(line for lines in families.values() for line in lines), "# EOF", ""])


@asynccontextmanager
async def remembering(directory: Path, series: Mapping[str, Sequence[float]]) -> AsyncIterator[str]:
    """Run a Prometheus with this past, which is made once for a directory; return its URL."""
    data = directory / "data"
    if not data.exists():
        source = directory / "past.om"
        source.write_text(openmetrics(series))
        promtool("tsdb", "create-blocks-from", "openmetrics", source, data)
    async with running(directory, {}, "--storage.tsdb.retention.time=100y") as prometheus:
        yield prometheus.url
