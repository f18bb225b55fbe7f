"""A proxy that is told of 5,000 requests a second: `python -m tests.live.flood`.

It is a process of its own, so that what measures it does not slow it down. The address of its admin
listener is printed first; then, for each line that is read, how many requests it has been told of
and how much CPU the making of documents has taken.
"""

from __future__ import annotations

import asyncio
import json
import sys
from time import monotonic, thread_time

from goodput_proxy.app import App
from goodput_proxy.settings import Settings
from tests.live.traffic import SETTINGS, mixed, tell

PER_SECOND = 5000


async def flood(app: App, told: list[int]) -> None:
    """Tell an app of requests until cancelled."""
    requests = mixed(app)
    begin_s = monotonic()
    while True:
        while told[0] < (monotonic() - begin_s) * PER_SECOND:
            tell(app, requests[told[0] % len(requests)])
            told[0] += 1
        await asyncio.sleep(0.005)


def say(line: str) -> None:
    """Write a line at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


async def main() -> None:
    """Run until the input ends."""
    loop = asyncio.get_running_loop()
    app = App(Settings.model_validate(SETTINGS))
    await app.start()
    told = [0]
    flooding = asyncio.create_task(flood(app, told))
    say(app.admin_url)
    while await loop.run_in_executor(None, sys.stdin.readline):
        cpu_s = await loop.run_in_executor(app._live._worker, thread_time)
        say(json.dumps({"told": told[0], "cpu_s": cpu_s}))
    flooding.cancel()
    await app.stop()


if __name__ == "__main__":
    asyncio.run(main())
