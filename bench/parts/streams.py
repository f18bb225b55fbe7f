"""From one stream to two thousand: CPU per token, added latency and memory."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from bench.pacer import Paced
from bench.peers import DIRECT, LITELLM
from bench.report import Check, spread_of
from bench.rig import Flow

from .part import Context, Data, Part, in_order, show, table

if TYPE_CHECKING:
    from bench.peers import Peer
    from bench.report import Spread
    from bench.rig import Rig
    from bench.running import Running

# Of streams, tokens per second of each, and tokens: three seconds and less a level.
_LEVELS = (
    Paced(0, 1, 100, 250),
    Paced(0, 50, 100, 250),
    Paced(0, 200, 50, 150),
    Paced(0, 1000, 20, 50),
    Paced(0, 2000, 20, 50),
)
_QUICK = (Paced(0, 1, 100, 50), Paced(0, 50, 50, 25))
_LIGHT = (Paced(0, 1, 20, 40), Paced(0, 50, 5, 15))
# Above it tokens travel in groups, and what each costs says little.
_FULL = 0.95


@dataclass(frozen=True, slots=True)
class Measured:
    """One peer at one number of streams in one round."""

    peer: str
    streams: int
    round: int
    flow: Flow
    rss_mb: float


def _measure(context: Context) -> Data:
    levels = _QUICK if context.quick else _LEVELS
    found: list[Measured] = []
    with context.rig() as rig:
        for number in context.repeats():
            for peer in context.peers:
                if peer.name == LITELLM and number:
                    continue
                its_levels = _LIGHT if peer.name == LITELLM else levels
                with context.losing(peer.name):
                    found += _measure_peer(context, rig, peer, its_levels, number)
    return {
        "levels": [asdict(level) for level in levels],
        "light": [asdict(level) for level in _LIGHT],
        "measured": [asdict(measured) for measured in found],
    }


def _measure_peer(
    context: Context, rig: Rig, peer: Peer, levels: tuple[Paced, ...], number: int
) -> list[Measured]:
    with rig.running(peer) as proxy:
        if peer.name != LITELLM:
            rig.warm_up(proxy)
        found: list[Measured] = []
        for level in levels:
            with context.losing(f"{peer.name}, {level.streams} streams"):
                found.append(_measure_level(rig, peer, proxy, level, number))
                flow = found[-1].flow
                context.say(
                    f"round {number + 1} {peer.name}, {level.streams} streams: "
                    f"{flow.cpu_us_per_token:.1f} us/token, p99 {flow.p99_ms:.2f} ms"
                )
        return found


def _measure_level(rig: Rig, peer: Peer, proxy: Running, level: Paced, number: int) -> Measured:
    memory: list[float] = []
    flow = rig.measure(proxy, level, while_open=lambda: memory.append(proxy.rss_mb()))
    return Measured(peer.name, level.streams, number, flow, memory[0])


def measured_of(data: Data) -> list[Measured]:
    """Return what a record holds."""
    return [Measured(**{**one, "flow": Flow(**one["flow"])}) for one in data["measured"]]


def cpu_of(found: list[Measured], peer: str, streams: int) -> Spread | None:
    """Return the CPU per token of one peer at one level."""
    return spread_of([m.flow.cpu_us_per_token for m in _of(found, peer, streams)])


def added_of(found: list[Measured], peer: str, streams: int, figure: str) -> Spread | None:
    """Return what a peer adds to a latency, round by round."""
    direct = {m.round: m for m in _of(found, DIRECT, streams)}
    return spread_of(
        [
            getattr(m.flow, figure) - getattr(direct[m.round].flow, figure)
            for m in _of(found, peer, streams)
            if m.round in direct
        ]
    )


def _of(found: list[Measured], peer: str, streams: int) -> list[Measured]:
    return [m for m in found if (m.peer, m.streams) == (peer, streams)]


def _section(data: Data) -> str:
    found = measured_of(data)
    levels = [Paced(**level) for level in data["levels"]]
    head = [f"{level.streams:,} x {level.rate:g}/s" for level in levels]
    peers = [name for name in in_order(m.peer for m in found) if name != DIRECT]

    def cell(peer: str, level: Paced) -> str:
        text = show(cpu_of(found, peer, level.streams))
        measured = _of(found, peer, level.streams)
        full = any(m.flow.proxy_core_share > _FULL for m in measured)
        return f"{text} full" if full and text else text

    def latencies(peer: str, level: Paced) -> str:
        spreads = [
            added_of(found, peer, level.streams, figure)
            for figure in ("p50_ms", "p99_ms", "p999_ms")
        ]
        return " / ".join(f"{spread.median:.2f}" for spread in spreads if spread)

    def memory(peer: str, level: Paced) -> str:
        return show(spread_of([m.rss_mb for m in _of(found, peer, level.streams)]), 0)

    parts = []
    for about, value in (
        ("CPU us per token, between the first token and the last, streams x tokens/s:", cell),
        ("Latency added to a direct connection, p50 / p99 / p99.9 ms:", latencies),
        ("Resident memory with so many streams open, MB:", memory),
    ):
        rows = [[peer, *(value(peer, level) for level in levels)] for peer in peers]
        parts.append(f"{about}\n\n{table(['proxy', *head], rows)}")
    notes = [
        (
            "*full*: the proxy had no time left on its core, so tokens travelled in groups: such a "
            "figure cannot be compared."
        )
    ]
    if LITELLM in peers:
        light = " and ".join(f"{level['streams']} x {level['rate']}/s" for level in data["light"])
        notes.append(f"{LITELLM} was given {light} tokens instead, once.")
    return "\n\n".join([*parts, " ".join(notes)])


def _checks(data: Data) -> list[Check]:
    del data
    return []  # the budget is about the load of the part `side`


PART = Part(
    "streams",
    "By number of streams",
    _measure,
    _section,
    _checks,
    minutes=6,
    plots=("cost", "latency"),
)
