"""The picture of a run: throughput as an area, the part of it that is goodput filled in.

Draws characters and nothing else: it knows neither terminal nor colours (a painter is handed in).
The rule: both curves share one scale that begins at zero, so that the eye compares areas honestly.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

Kind = Literal["good", "late", "empty"]
Paint = Callable[[str, Kind], str]

MARGIN = 6
"""Columns left of the axis."""

_ROWS_PER_LABEL = 4
_TICKS = 6


@dataclass(frozen=True, slots=True)
class Point:
    """One position on the time axis."""

    at_s: float
    users: int
    throughput_rps: float
    goodput_rps: float


@dataclass(frozen=True, slots=True)
class Glyphs:
    """The characters to draw with."""

    good: str
    late: str
    side: str
    floor: str
    tick: str

    def cell(self, kind: Kind) -> str:
        """Return the character that fills one cell."""
        return {"good": self.good, "late": self.late, "empty": " "}[kind]


BLOCKS = Glyphs(good="█", late="░", side="│", floor="─", tick="┴")
ASCII = Glyphs(good="#", late=".", side="|", floor="-", tick="+")


def draw(
    points: Sequence[Point], *, width: int, height: int, glyphs: Glyphs, paint: Paint
) -> list[str]:
    """Return the chart's lines: the areas, the axis, the time and the users below it.

    Args:
        points: The run in order of time; at least one.
        width: Columns of the areas, without the margin.
        height: Rows of the areas, without the axis.
        glyphs: The characters to draw with.
        paint: Colours a string of cells of one kind.
    """
    columns = [points[column * len(points) // width] for column in range(width)]
    row_rps = (max(point.throughput_rps for point in points) or 1.0) / height
    lines = []
    for row in range(height, 0, -1):
        label = f"{row * row_rps:.1f}" if row % _ROWS_PER_LABEL == 0 else ""
        kinds = [_kind(point, (row - 0.5) * row_rps) for point in columns]
        cells = "".join(
            paint(glyphs.cell(kind) * len(list(run)), kind) for kind, run in groupby(kinds)
        )
        lines.append(f"{label:>{MARGIN - 1}} {glyphs.side}{cells}".rstrip())
    ticks = [tick * (width - 1) // (_TICKS - 1) for tick in range(_TICKS)]
    floor = "".join(glyphs.tick if column in ticks else glyphs.floor for column in range(width))
    times_s = [points[-1].at_s * tick / (_TICKS - 1) for tick in range(_TICKS)]
    decimals = 0 if points[-1].at_s >= 20 else 1
    return [
        *lines,
        f"{'0':>{MARGIN - 1}} {glyphs.tick}{floor}",
        _labels(ticks, [f"{time_s:.{decimals}f}s" for time_s in times_s]),
        _labels(ticks, [str(columns[tick].users) for tick in ticks]) + " users",
    ]


def _kind(point: Point, level_rps: float) -> Kind:
    """Return what a cell at this height shows."""
    if point.goodput_rps >= level_rps:
        return "good"
    return "late" if point.throughput_rps >= level_rps else "empty"


def _labels(ticks: Sequence[int], texts: Sequence[str]) -> str:
    """Place each text so that it ends below its tick."""
    line = ""
    for tick, text in zip(ticks, texts, strict=True):
        line = line.ljust(MARGIN + 2 + tick - len(text)) + text
    return line
