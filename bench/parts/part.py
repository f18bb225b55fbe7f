"""What a part of the full bench is: it measures, writes its section, and judges.

Measuring gives plain data for a JSON file; section and verdict are made from such a file alone, so
a part that was not measured today keeps what it has said. What fails inside a part is noted in its
data and does not end it.
"""

from __future__ import annotations

import json
import math
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bench.measure import choose_cores
from bench.peers import GOODPUT, GOODPUT_COMPILED, PEERS
from bench.report import row
from bench.rig import Rig
from bench.running import BenchError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from bench.peers import Peer
    from bench.report import Check, Spread

Data = dict[str, Any]
OURS = (GOODPUT, GOODPUT_COMPILED)


@dataclass
class Context:
    """What a part is given."""

    peers: tuple[Peer, ...]
    """Those that are installed and were asked for."""
    rounds: int
    quick: bool
    """Whether to show that it works rather than what it measures."""
    say: Callable[[str], None]
    lost: dict[str, str] = field(default_factory=dict)
    """What could not be measured, and why."""
    deadline_s: float = math.inf
    """When no further repeat is begun, on the monotonic clock."""

    def late(self) -> bool:
        """Return whether the time of the part is over."""
        return time.monotonic() > self.deadline_s

    def repeats(self) -> Iterator[int]:
        """Number the repeats: one at least, and no new one when time is up."""
        yield 0
        for number in range(1, 1 if self.quick else self.rounds):
            if self.late():
                self.lost["repeats"] = f"{number} of {self.rounds} were made in the time there was"
                return
            yield number

    def named(self, *names: str) -> list[Peer]:
        """Return those of the peers, in their order."""
        return [peer for peer in self.peers if peer.name in names]

    def in_time(self, *names: str) -> Iterator[Peer]:
        """Yield those of the peers, the one that is judged first, until time is up."""
        judged = self.judged()
        for peer in [*judged, *(peer for peer in self.named(*names) if peer not in judged)]:
            if self.late():
                self.lost[peer.name] = "there was no time left"
            else:
                yield peer

    def judged(self) -> list[Peer]:
        """Return the build of the proxy that is judged, if there is one, as a list."""
        return self.named(*OURS)[-1:]

    def lose(self, what: str, error: Exception) -> None:
        """Note that something could not be measured."""
        why = str(error).strip() or repr(error)
        self.lost[what] = why.splitlines()[0][:200]
        self.say(f"{what}: {why}")

    @contextmanager
    def rig(self) -> Iterator[Rig]:
        """Run a pacer."""
        rig = Rig(choose_cores())
        try:
            yield rig
        finally:
            rig.close()

    @contextmanager
    def losing(self, what: str) -> Iterator[None]:
        """Note what fails inside the block, and go on."""
        try:
            yield
        except (BenchError, OSError, subprocess.SubprocessError, json.JSONDecodeError) as error:
            self.lose(what, error)


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the full bench."""

    name: str
    title: str
    measure: Callable[[Context], Data]
    section: Callable[[Data], str]
    """Markdown, without the title."""
    checks: Callable[[Data], list[Check]]
    minutes: float
    """After them it repeats nothing; on a quiet machine it takes less."""
    plots: tuple[str, ...] = ()
    """Pictures that plots.py draws from the data of this part, by their names."""


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    return "\n".join([row(head), row(["---"] * len(head)), *map(row, rows)])


def show(spread: Spread | None, digits: int = 1) -> str:
    """Return a median with both ends, nothing for nothing."""
    if spread is None:
        return ""
    text = f"{spread.median:,.{digits}f}"
    if spread.low == spread.high:
        return text
    return f"{text} ({spread.low:,.{digits}f}-{spread.high:,.{digits}f})"


def in_order(names: Iterable[str]) -> list[str]:
    """Return each name of a peer once, in the order of all peers."""
    seen = set(names)
    return [peer.name for peer in PEERS if peer.name in seen]
