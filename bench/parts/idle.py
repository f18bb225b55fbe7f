"""Memory of a stream that is open and silent: five thousand of them."""

from __future__ import annotations

import resource
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from bench.pacer import Paced
from bench.peers import ENVOY, NGINX, PLAIN_AIOHTTP
from bench.report import Check

from .part import OURS, Context, Data, Part, in_order, table

if TYPE_CHECKING:
    from bench.rig import Rig
    from bench.running import Running

_PEERS = (NGINX, "HAProxy", ENVOY, "vllm-router", PLAIN_AIOHTTP, *OURS)
_STREAMS = 5000
_QUICK_STREAMS = 100
_ENDS = 2  # a proxy has two descriptors for each
_SPARE = 200


@dataclass(frozen=True, slots=True)
class Idle:
    """What one peer needed."""

    peer: str
    streams: int
    base_mb: float
    """After it has answered a few requests."""
    open_mb: float
    ended_mb: float
    """After all have ended."""

    @property
    def per_stream_kb(self) -> float:
        """Return what each added."""
        return (self.open_mb - self.base_mb) * 1000 / self.streams


def _measure(context: Context) -> Data:
    streams = _QUICK_STREAMS if context.quick else min(_STREAMS, _affordable())
    found = []
    with context.rig() as rig:
        for peer in context.in_time(*_PEERS):
            with context.losing(peer.name), rig.running(peer) as proxy:
                found.append(_measure_peer(rig, proxy, streams))
                context.say(f"{peer.name}: {found[-1].per_stream_kb:.1f} kB per idle stream")
    return {"idle": [asdict(idle) for idle in found]}


def _measure_peer(rig: Rig, proxy: Running, streams: int) -> Idle:
    rig.measure(proxy, Paced(0, 2, 50, 10))
    base_mb = proxy.rss_mb()
    memory: list[float] = []
    # One token more, since a load is not without.
    load = Paced(0, streams, 0.5, 1)
    rig.measure(proxy, load, while_open=lambda: memory.append(proxy.rss_mb()))
    return Idle(proxy.peer.name, streams, base_mb, memory[0], proxy.rss_mb())


def _affordable() -> int:
    """Return how many streams a proxy has descriptors for, which it inherits from here."""
    return (resource.getrlimit(resource.RLIMIT_NOFILE)[1] - _SPARE) // _ENDS


def _idle_of(data: Data) -> list[Idle]:
    found = [Idle(**idle) for idle in data["idle"]]
    order = in_order(idle.peer for idle in found)
    return sorted(found, key=lambda idle: order.index(idle.peer))


def _section(data: Data) -> str:
    found = _idle_of(data)
    rows = [
        [
            idle.peer,
            f"{idle.base_mb:.0f}",
            f"{idle.open_mb:.0f}",
            f"{idle.per_stream_kb:.1f}",
            f"{idle.ended_mb:.0f}",
        ]
        for idle in found
    ]
    streams = found[0].streams if found else 0
    return (
        f"{streams:,} streams that have had their first token and wait for the second.\n\n"
        + table(["proxy", "RSS MB before", "with all open", "kB per stream", "afterwards"], rows)
    )


def _checks(data: Data) -> list[Check]:
    ours = [idle for idle in _idle_of(data) if idle.peer in OURS][-1:]
    return [
        Check("kB per idle stream", ours[0].per_stream_kb if ours else None, 25, 12),
    ]


PART = Part("idle", "Memory of idle streams", _measure, _section, _checks, minutes=2)
