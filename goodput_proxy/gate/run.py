"""The gate from start to end: observe a window, judge it, print it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, TextIO

import aiohttp
from yarl import URL

from .progress import progress
from .prometheus import observe_prometheus
from .proxy import observe_proxy
from .report import render_json, render_table
from .ruling import rule

if TYPE_CHECKING:
    from .counts import Observation
    from .settings import GateSettings


async def run_gate(
    settings: GateSettings, out: TextIO | None = None, err: TextIO | None = None
) -> int:
    """Return the exit code; the answer goes to `out`, what concerns people only to `err`.

    Raises:
        ConfigError: when there is nothing at the address that could be judged.
    """
    out, err = out or sys.stdout, err or sys.stderr
    async with aiohttp.ClientSession() as client:
        observation = await _observe(client, settings, err)
    ruling = rule(observation, settings.min_, settings.min_requests)
    if settings.output == "json":
        print(render_json(observation, ruling), file=out)
    else:
        print(render_table(observation, ruling, settings.min_requests), file=out)
    if observation.note:
        print(f"note: {observation.note}", file=err)
    return ruling.exit_code


async def _observe(
    client: aiohttp.ClientSession, settings: GateSettings, err: TextIO
) -> Observation:
    if settings.proxy is not None:
        window_s = settings.for_.seconds
        async with progress(err, lambda s: f"counting: {s} s of {window_s:g} s"):
            return await observe_proxy(client, URL(str(settings.proxy)), window_s, settings.match)
    url = URL(str(settings.prometheus))
    at_s = None if settings.at is None else settings.at.timestamp()
    async with progress(err, lambda s: f"waiting for Prometheus since {s} s"):
        return await observe_prometheus(client, url, int(settings.range_), at_s, settings.match)
