"""What measuring costs: each format by itself, and streams with the meter on and off."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from bench import meter, report
from bench.load import UNMEASURED_PATH, Load
from bench.pacer import Paced
from bench.report import Check, spread_of

from .part import OURS, Context, Data, Part, in_order, show, table

if TYPE_CHECKING:
    from bench.report import Spread

_LOAD = Paced(0, 200, 50, 150)
_QUICK_LOAD = Paced(0, 20, 50, 25)
_SMALL = Load(connections=50, requests=40, tokens=0, interval_us=25_000)
_QUICK_SMALL = Load(connections=10, requests=10, tokens=0, interval_us=20_000)


@dataclass(frozen=True, slots=True)
class Metered:
    """One build in one round, the meter on or off."""

    peer: str
    on: bool
    us_per_token: float
    us_per_request: float


def _measure(context: Context) -> Data:
    found: list[Metered] = []
    load = _QUICK_LOAD if context.quick else _LOAD
    small = _QUICK_SMALL if context.quick else _SMALL
    with context.rig() as rig:
        for number in context.repeats():
            for peer in context.named(*OURS):
                with context.losing(peer.name), rig.running(peer) as proxy:
                    rig.warm_up(proxy)
                    for on in (True, False):
                        path = load.path if on else UNMEASURED_PATH
                        flow = rig.measure(proxy, replace(load, path=path))
                        exchange = rig.exchange(proxy, replace(small, path=path))
                        found.append(
                            Metered(
                                peer.name, on, flow.cpu_us_per_token, exchange.cpu_us_per_request
                            )
                        )
                        context.say(
                            f"round {number + 1} {peer.name}, meter {'on' if on else 'off'}: "
                            f"{flow.cpu_us_per_token:.1f} us/token"
                        )
    formats: dict[str, dict[str, float]] = {}
    if not context.quick:
        with context.losing("formats"):
            formats = meter.by_build()
    return {"metered": [asdict(metered) for metered in found], "formats": formats}


def _metered_of(data: Data) -> list[Metered]:
    return [Metered(**metered) for metered in data["metered"]]


def _share(found: list[Metered], peer: str, figure: str) -> Spread | None:
    """Return which part of a cost is the meter's, round by round."""
    on = [getattr(m, figure) for m in found if m.peer == peer and m.on]
    off = [getattr(m, figure) for m in found if m.peer == peer and not m.on]
    return spread_of([1 - b / a for a, b in zip(on, off, strict=False)])


def _section(data: Data) -> str:
    found = _metered_of(data)
    rows = []
    for peer in in_order(m.peer for m in found):
        cells = [peer]
        for figure, digits in (("us_per_token", 1), ("us_per_request", 0)):
            cells += [
                show(
                    spread_of([getattr(m, figure) for m in found if m.peer == peer and m.on is on]),
                    digits,
                )
                for on in (True, False)
            ]
            share = _share(found, peer, figure)
            cells.append(f"{share.median:.0%}" if share else "")
        rows.append(cells)
    head = ["build", "us/token, on", "off", "the meter's share"]
    text = (
        f"{_LOAD.streams} streams at {_LOAD.rate:g} tokens/s, between first token and last, and "
        f"{_SMALL.connections * 1_000_000 // _SMALL.interval_us:,} small requests a second. "
        "Off: the same bytes at a path that is no inference.\n\n"
        + table([*head, "us/small request, on", "off", "the meter's share"], rows)
    )
    if data["formats"]:
        text += "\n\nA record, format by format, with neither network nor cold caches:\n\n"
        text += report.meter_table(data["formats"])
    return text


def _checks(data: Data) -> list[Check]:
    return report.meter_checks(data["formats"])


PART = Part("metering", "What the meter costs", _measure, _section, _checks, minutes=1)
