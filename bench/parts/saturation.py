"""Tokens per second on one core until the added p99 passes 10 ms."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING

from bench.pacer import Paced
from bench.peers import DIRECT, ENVOY, NGINX, PEERS, PLAIN_AIOHTTP
from bench.report import Check
from bench.running import BenchError
from bench.search import highest

from .part import OURS, Context, Data, Part, in_order, table

if TYPE_CHECKING:
    from bench.rig import Flow, Rig
    from bench.running import Running

_PEERS = (NGINX, "HAProxy", ENVOY, PLAIN_AIOHTTP, *OURS)
_STREAMS = 1000
_SECONDS = 2.0
# 8,000 to 60,000 tokens/s in steps of a tenth; the pacer itself ends at some 60,000.
_RATES = tuple(round(8000 * 1.1**step, -2) for step in range(22))
_QUICK_RATES = (2000.0, 4000.0)
_LIMIT_MS = 10.0
# What the pacer must have sent of what it was to send; otherwise the load was not offered.
_OFFERED = 0.96


def _measure(context: Context) -> Data:
    rates = _QUICK_RATES if context.quick else _RATES
    direct: dict[float, Flow] = {}
    steps: list[dict[str, object]] = []
    found: dict[str, float | None] = {}
    (no_proxy,) = (peer for peer in PEERS if peer.name == DIRECT)
    with context.rig() as rig:
        for peer in context.in_time(*_PEERS):

            def holds(step: int, name: str, proxy: Running) -> bool:
                rate = rates[step]
                if rate not in direct:
                    with rig.running(no_proxy) as itself:
                        direct[rate] = _flow(rig, itself, rate, context)
                try:
                    flow = _flow(rig, proxy, rate, context)
                except BenchError as error:  # it does not get through: that is an answer, too
                    context.say(f"{name} at {rate:,.0f}/s: {error}")
                    steps.append({"peer": name, "rate": rate, "added_p99_ms": None})
                    return False
                added_ms = flow.p99_ms - direct[rate].p99_ms
                offered = flow.sent_per_s >= _OFFERED * rate
                context.say(
                    f"{name} at {flow.sent_per_s:,.0f} of {rate:,.0f}/s: "
                    f"p99 {added_ms:+.2f} ms, core {flow.proxy_core_share:.2f}"
                )
                steps.append(
                    {"peer": name, "rate": rate, "added_p99_ms": added_ms, "flow": asdict(flow)}
                )
                return offered and added_ms <= _LIMIT_MS

            with context.losing(peer.name), rig.running(peer) as proxy:
                rig.warm_up(proxy)
                best = highest(len(rates), partial(holds, name=peer.name, proxy=proxy))
                found[peer.name] = None if best is None else rates[best]
    return {
        "rates": list(rates),
        "found": found,
        "steps": steps,
        "direct": {str(rate): asdict(flow) for rate, flow in direct.items()},
    }


def _flow(rig: Rig, proxy: Running, rate: float, context: Context) -> Flow:
    streams = 50 if context.quick else _STREAMS
    tokens = round(rate * (0.5 if context.quick else _SECONDS) / streams)
    # A proxy that is behind by more has lost.
    return rig.measure(proxy, Paced(0, streams, rate / streams, tokens, patience_s=3.0))


def _section(data: Data) -> str:
    steps, top = data["steps"], data["rates"][-1]
    rows = []
    for name in in_order(step["peer"] for step in steps):
        best = data["found"].get(name)
        flows = [s["flow"] for s in steps if s["peer"] == name and s["rate"] == best]
        core = f"{flows[-1]['proxy_core_share']:.2f}" if flows else ""
        more = "at least " if best == top else ""
        rows.append([name, "" if best is None else f"{more}{best:,.0f}", core])
    highest_offered = max((flow["sent_per_s"] for flow in data["direct"].values()), default=0.0)
    about = (
        f"{_STREAMS:,} streams, each faster from step to step (by a tenth), on one core: the "
        "highest step whose p99, less that of a direct connection, is within "
        f"{_LIMIT_MS:g} ms. A step has failed when it did twice."
    )
    offered = f"The load itself was offered up to {highest_offered:,.0f} tokens/s here."
    return "\n\n".join([about, table(["proxy", "tokens/s", "core used"], rows), offered])


def _checks(data: Data) -> list[Check]:
    ours = [data["found"][name] for name in OURS if data["found"].get(name) is not None]
    return [
        Check(
            f"tokens/s on one core, added p99 within {_LIMIT_MS:g} ms",
            ours[-1] if ours else None,
            35_000,
            50_000,
            at_least=True,
        )
    ]


PART = Part(
    "saturation", "Saturation", _measure, _section, _checks, minutes=5, plots=("saturation",)
)
