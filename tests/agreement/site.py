"""The scripted server with the proxy before it, and what both say of the requests that came.

Owns: both processes, and the reading of their logs and of the proxy's metrics.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.agreement.clients import Seen
from tests.real import observe
from tests.real.processes import start, start_proxy, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.real.observe import Samples
    from tests.real.processes import Running

# After the last answer the proxy has judged within moments.
SETTLE_LIMIT_S = 5.0


@dataclass(frozen=True, slots=True)
class Site:
    """Both processes."""

    upstream: Running
    proxy: Running

    def settled(self) -> Samples:
        """Return the metrics once no request is under way."""

        def idle() -> bool:
            return not observe.scrape(self.proxy.admin_url).total("goodput_requests_in_flight")

        observe.settles(idle, SETTLE_LIMIT_S)
        return observe.scrape(self.proxy.admin_url)

    def prompts(self) -> dict[str, str]:
        """Return what was asked, by `x-request-id`."""
        return {note["request_id"]: note["prompt"] for note in _lines(self.upstream.log)}

    def judged(self) -> dict[str, Seen]:
        """Return what the proxy said of each request in its log, by `x-request-id`."""
        return {
            line["request_id"]: Seen(
                f"{line['verdict']} {line.get('cause', '')}".strip(),
                line.get("ttft_ms"),
                line.get("e2e_ms"),
                line.get("itl_ms"),
                line.get("output_tokens"),
            )
            for line in _lines(self.proxy.log)
            if line.get("event") == "request"
        }


@contextlib.contextmanager
def site(directory: Path, *slo: str) -> Iterator[Site]:
    """Run the server and the proxy, which logs every request."""
    directory.mkdir()
    with contextlib.ExitStack() as ending:
        command = [sys.executable, "-m", "tests.agreement.upstream"]
        root = str(Path(__file__).resolve().parents[2])
        environment = {**os.environ, "PYTHONPATH": root}
        upstream = start("upstream", command, directory, environment)
        ending.callback(upstream.stop)
        url = wait_for(upstream, re.compile(r"listening on (http://127\.0\.0\.1:\d+)")).group(1)
        proxy = start_proxy(url, directory, "--log.requests", "1", *slo)
        ending.callback(proxy.stop)
        yield Site(upstream, proxy)


def _lines(log: Path) -> list[dict[str, Any]]:
    text = log.read_text(encoding="utf-8", errors="replace")
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]
