"""What can be seen from outside: the proxy's metrics, the server's processor time and sockets.

Owns: reading `/metrics` into numbers, and the two signs by which a stopped generation shows on the
server's side. Knows nothing of requests.

Rule it keeps: a sign that this operating system does not offer is `None`, never a guess. Both signs
come from `/proc`, hence from Linux only; what the checks conclude without them stands on how long
the next request has to wait, which needs no operating system's help.
"""

from __future__ import annotations

import os
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from prometheus_client.parser import text_string_to_metric_families

if TYPE_CHECKING:
    from collections.abc import Callable

SCRAPE_LIMIT_S = 5.0
_ESTABLISHED = "01"  # the state column of /proc/net/tcp
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True, slots=True)
class Samples:
    """One scrape."""

    values: dict[tuple[str, frozenset[tuple[str, str]]], float]

    def total(self, name: str, **labels: str) -> float:
        """Add up every sample of `name` that carries these labels."""
        wanted = set(labels.items())
        return sum(v for (n, have), v in self.values.items() if n == name and wanted <= have)

    def by(self, name: str, *labels: str) -> dict[tuple[str, ...], int]:
        """Add up `name` by the values of some labels, and leave out what is zero."""
        sums: dict[tuple[str, ...], int] = {}
        for (found, have), value in self.values.items():
            if found == name and value:
                key = tuple(dict(have).get(label, "") for label in labels)
                sums[key] = sums.get(key, 0) + int(value)
        return sums

    def __sub__(self, earlier: Samples) -> Samples:
        return Samples({k: v - earlier.values.get(k, 0.0) for k, v in self.values.items()})


def scrape(admin_url: str) -> Samples:
    """Read the proxy's metrics."""
    with _opener.open(f"{admin_url}/metrics", timeout=SCRAPE_LIMIT_S) as answer:
        text = answer.read().decode()
    return Samples(
        {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }
    )


def cpu_seconds(pid: int) -> float | None:
    """Give the processor time that a process has used so far."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = stat.rsplit(")", 1)[1].split()  # the name before it may hold anything
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def cpu_share(pid: int, window_s: float) -> float | None:
    """Give the share of one processor that a process uses over the next `window_s`."""
    before, start = cpu_seconds(pid), time.monotonic()
    time.sleep(window_s)
    after, end = cpu_seconds(pid), time.monotonic()
    return None if before is None or after is None else (after - before) / (end - start)


def connections(port: int) -> int | None:
    """Count the established connections that a server on this loopback port holds."""
    try:
        lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    except OSError:
        return None
    rows = [line.split() for line in lines]
    return sum(1 for row in rows if int(row[1][-4:], 16) == port and row[3] == _ESTABLISHED)


def settles(condition: Callable[[], bool], limit_s: float) -> float | None:
    """Wait until `condition` holds; give how long that took, or None if it never did."""
    start = time.monotonic()
    while not condition():
        if time.monotonic() - start > limit_s:
            return None
        time.sleep(0.005)
    return time.monotonic() - start
