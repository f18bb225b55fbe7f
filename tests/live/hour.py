"""A proxy that lives through an hour in seconds: `python -m tests.live.hour`.

The clock of the live page is handed in; everything else is as users run it. The address of the
admin listener is printed first. For each line that is read, that many requests come, evenly over
an hour, and then the resident memory is printed.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
from itertools import cycle, islice
from pathlib import Path
from time import monotonic_ns
from unittest.mock import patch

from goodput_proxy.app import App
from goodput_proxy.live import routes
from goodput_proxy.settings import Settings
from tests.live.flood import say
from tests.live.traffic import SETTINGS, mixed, tell

HOUR_NS = 3600 * 10**9
# After each, whoever looks is served.
AT_ONCE = 500


class Clock:
    """The time of day, put forward at will."""

    def __init__(self) -> None:
        self.ahead_ns = 0

    def __call__(self) -> int:
        """Return what `monotonic_ns` would."""
        return monotonic_ns() + self.ahead_ns


def rss_bytes() -> int:
    """Return the resident memory of this process, without what is only waiting to be collected."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def main(clock: Clock) -> None:
    """Run until the input ends."""
    loop = asyncio.get_running_loop()
    app = App(Settings.model_validate(SETTINGS))
    await app.start()
    requests = cycle(mixed(app))
    say(app.admin_url)
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        count = int(line)
        for _ in range(0, count, AT_ONCE):
            for judged in islice(requests, AT_ONCE):
                clock.ahead_ns += HOUR_NS // count
                tell(app, judged)
            await asyncio.sleep(0)
        say(json.dumps({"rss_bytes": rss_bytes()}))
    await app.stop()


if __name__ == "__main__":
    put_forward = Clock()
    with patch.object(routes, "monotonic_ns", put_forward):
        asyncio.run(main(put_forward))
