"""The picture in the terminal: throughput as an area, the part of it that is goodput filled in.

Draws characters and nothing else: it knows neither terminal nor colours (a painter is handed in).
The rule: both share one scale that begins at zero, so that the eye compares areas honestly.
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
_BAR, _GAP = 6, 2  # columns of a level of a sweep, and between two of them


@dataclass(frozen=True, slots=True)
class Point:
    """One position on the time axis, or one level of a sweep."""

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
    mark: str

    def cell(self, kind: Kind) -> str:
        """Return the character that fills one cell."""
        return {"good": self.good, "late": self.late, "empty": " "}[kind]


BLOCKS = Glyphs(good="█", late="░", side="│", floor="─", tick="┴", mark="▲")
ASCII = Glyphs(good="#", late=".", side="|", floor="-", tick="+", mark="^")


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
    ticks = [tick * (width - 1) // (_TICKS - 1) for tick in range(_TICKS)]
    floor = "".join(glyphs.tick if column in ticks else glyphs.floor for column in range(width))
    times_s = [points[-1].at_s * tick / (_TICKS - 1) for tick in range(_TICKS)]
    decimals = 0 if points[-1].at_s >= 20 else 1
    return [
        *_areas(columns, height, glyphs, paint),
        f"{'0':>{MARGIN - 1}} {glyphs.tick}{floor}",
        _labels(ticks, [f"{time_s:.{decimals}f}s" for time_s in times_s]),
        _labels(ticks, [str(columns[tick].users) for tick in ticks]) + " users",
    ]


def draw_levels(
    levels: Sequence[Point], *, height: int, knee: int, glyphs: Glyphs, paint: Paint
) -> list[str]:
    """Return a bar for each level of a sweep, and below them where the promise breaks.

    Args:
        levels: in order of load.
        height: Rows of the bars, without the axis.
        knee: The largest level that keeps the promise, 0 if none does.
        glyphs: The characters to draw with.
        paint: Colours a string of cells of one kind.
    """
    columns: list[Point | None] = []
    for level in levels:
        columns += [None] * _GAP + [level] * _BAR
    names = "".join(" " * _GAP + f"{level.users:^{_BAR}}" for level in levels)
    broken = [place for place, level in enumerate(levels) if level.users > knee]
    marks = ""
    if broken:
        before = broken[0] * (_GAP + _BAR) + _GAP // 2
        marks = " " * before + f"{glyphs.mark} from here on the promise is broken"
    return [
        *_areas(columns, height, glyphs, paint),
        f"{'0':>{MARGIN - 1}} {glyphs.tick}{glyphs.floor * len(columns)}",
        f"{'':{MARGIN + 1}}{names.rstrip()}  at once",
        *([f"{'':{MARGIN + 1}}{marks}"] if marks else []),
    ]


def _areas(columns: Sequence[Point | None], height: int, glyphs: Glyphs, paint: Paint) -> list[str]:
    """Return the rows of the areas with their axis; None is a gap between them."""
    most = max((point.throughput_rps for point in columns if point is not None), default=0.0)
    row_rps = (most or 1.0) / height
    decimals = 1 if most >= 2 else 2
    lines = []
    for row in range(height, 0, -1):
        label = f"{row * row_rps:.{decimals}f}" if row % _ROWS_PER_LABEL == 0 else ""
        kinds = [_kind(point, (row - 0.5) * row_rps) for point in columns]
        cells = "".join(
            paint(glyphs.cell(kind) * len(list(run)), kind) for kind, run in groupby(kinds)
        )
        lines.append(f"{label:>{MARGIN - 1}} {glyphs.side}{cells}".rstrip())
    return lines


def _kind(point: Point | None, level_rps: float) -> Kind:
    """Return what a cell at this height shows."""
    if point is None:
        return "empty"
    if point.goodput_rps >= level_rps:
        return "good"
    return "late" if point.throughput_rps >= level_rps else "empty"


def _labels(ticks: Sequence[int], texts: Sequence[str]) -> str:
    """Place each text so that it ends below its tick."""
    line = ""
    for tick, text in zip(ticks, texts, strict=True):
        line = line.ljust(MARGIN + 2 + tick - len(text)) + text
    return line
