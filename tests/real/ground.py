"""What every check stands on: the report, the two processes, and the verdicts that are due.

Owns: the lines that are printed, the ledger of expected verdicts, and the requests' common shape.
Knows nothing of any single check.

Rule it keeps: metrics are read only after every request sent so far has been judged, because the
proxy gives the client its bytes first and counts afterwards.
"""

from __future__ import annotations

import contextlib
import sys
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.real import observe, processes, traffic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from tests.real.observe import Samples
    from tests.real.processes import Running

# What may lie between the proxy's clock and the client's: the SDK's own work, some 5 ms, and the
# wait for a processor on a busy machine.
CLIENT_OVERHEAD_S = 0.025
# More than a check waits for, at 1,000 tokens a second on a fast machine, and little enough to sit
# out when the server fails to notice that nobody wants it any more.
ENDLESS = 8_000
# Above the server's own limit for an idle connection (uvicorn: 5 s), which the pool may run into.
DRAINS_WITHIN_S = 10.0
NAME_COLUMNS = 46


class Report:
    """The lines of the report, and a table of them: a row for a check, a column for a server."""

    def __init__(self) -> None:
        self.failed = 0
        self._results: dict[str, dict[str, bool]] = {}  # by check, then by server
        self._server = ""

    def begin(self, server: str) -> None:
        """Go on with another server."""
        self._server = server
        sys.stdout.write(f"\n{server}\n")

    def check(self, holds: bool, name: str, detail: str) -> None:  # noqa: FBT001
        """Print one line, with the numbers that were seen."""
        self.failed += not holds
        known = self._results.setdefault(name, {})
        known[self._server] = known.get(self._server, True) and holds
        self.say("ok  " if holds else "FAIL", name, detail)

    def say(self, mark: str, name: str, detail: str) -> None:
        """Print one line that is not judged."""
        sys.stdout.write(f"{mark:<5} {name:<{NAME_COLUMNS}} {detail}\n")
        sys.stdout.flush()

    def table(self) -> None:
        """Print the table."""
        servers = list(dict.fromkeys(server for row in self._results.values() for server in row))
        sys.stdout.write(f"\n{'':<{NAME_COLUMNS}} " + "  ".join(servers) + "\n")
        for name, row in self._results.items():
            marks = {server: "ok" if holds else "FAIL" for server, holds in row.items()}
            cells = (f"{marks.get(server, '-'):<{len(server)}}" for server in servers)
            sys.stdout.write(f"{name:<{NAME_COLUMNS}} {'  '.join(cells).rstrip()}\n")
        sys.stdout.write("\n")


@dataclass(slots=True)
class Site:
    """The server, the proxy before it, and every verdict that is due so far."""

    server: Running
    proxy: Running
    sdk: traffic.Sdk
    report: Report
    due: Counter[tuple[str, ...]] = field(default_factory=Counter)
    left: int = 0

    def expect(self, verdict: str, cause: str = "", count: int = 1, *, left: bool = False) -> None:
        """Note that requests deserve this verdict, and whether their clients left early."""
        self.due[verdict, cause] += count
        self.left += count * left

    def settled(self) -> Samples:
        """Read the metrics once every request sent so far has been judged."""

        def judged() -> bool:
            seen = observe.scrape(self.proxy.admin_url).total("goodput_requests_total")
            return seen >= self.due.total()

        observe.settles(judged, limit_s=3.0)
        return observe.scrape(self.proxy.admin_url)

    @contextlib.contextmanager
    def counting(self) -> Iterator[Callable[[], Samples]]:
        """Give a function that tells by how much the metrics have moved since."""
        before = self.settled()
        yield lambda: self.settled() - before


def chat(max_tokens: int = ENDLESS, **more: Any) -> dict[str, Any]:
    """Make a streaming chat request that never ends by itself before `max_tokens`."""
    return {
        "model": processes.MODEL_NAME,
        "messages": [{"role": "user", "content": traffic.PROMPT}],
        "stream": True,
        "max_tokens": max_tokens,
        **traffic.ENDLESS,
        **more,
    }


def completion(max_tokens: int = ENDLESS, **more: Any) -> dict[str, Any]:
    """Make the same of the older completions API."""
    return {
        "model": processes.MODEL_NAME,
        "prompt": traffic.PROMPT,
        "stream": True,
        "max_tokens": max_tokens,
        **traffic.ENDLESS,
        **more,
    }


def response(max_tokens: int = ENDLESS, **more: Any) -> dict[str, Any]:
    """Make the same of the responses API."""
    return {
        "model": processes.MODEL_NAME,
        "input": traffic.PROMPT,
        "stream": True,
        "max_output_tokens": max_tokens,
        **traffic.ENDLESS,
        **more,
    }


APIS: tuple[tuple[str, str, Callable[..., dict[str, Any]]], ...] = (
    ("chat", traffic.CHAT, chat),
    ("completions", traffic.COMPLETIONS, completion),
    ("responses", traffic.RESPONSES, response),
)


def words(counts: Mapping[tuple[str, ...], int]) -> str:
    """Put counts by label into words."""
    named = ((" ".join(filter(None, key)), value) for key, value in counts.items())
    return ", ".join(f"{value} {name}" for name, value in sorted(named))
