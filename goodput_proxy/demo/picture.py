"""The picture of a run or a sweep as PNG: the same two areas as in the terminal.

The one module that needs Pillow, the extra `plot`; whoever imports it has looked whether that is
there. Drawn at twice the size and scaled down, which smooths every edge. The colours are those of
the live page.
"""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .plot import Point

SIZE = (1200, 640)

_FINE = 2  # pixels drawn for each one that is kept
_PAPER, _INK, _SOFT, _LINE = "#ffffff", "#1a2026", "#55606b", "#dfe3e6"
_GOOD, _LATE = "#007a68", "#f3c67a"
_LEFT, _TOP, _RIGHT, _BOTTOM = 80, 150, 1160, 560  # of the plot
_Y_STEPS = 5  # at most
_X_STEPS = 6
_BAR = 0.7  # of the room that a level has
_MARK_WIDTH = 170  # of the words above the mark


def draw_run(points: Sequence[Point], title: str, subtitle: str) -> bytes:
    """Return the picture of a run: rates against time, with the number of users below."""
    canvas = _Canvas(title, subtitle, max(point.throughput_rps for point in points))
    last_s = points[-1].at_s or 1.0
    xs = [point.at_s / last_s for point in points]
    canvas.area(xs, [point.throughput_rps for point in points], _LATE)
    canvas.area(xs, [point.goodput_rps for point in points], _GOOD)
    canvas.frame()
    for step in range(_X_STEPS + 1):
        at_s = last_s * step / _X_STEPS
        near = min(points, key=lambda point: abs(point.at_s - at_s))
        canvas.x_label(step / _X_STEPS, f"{at_s:.0f} s", f"{near.users} users")
    return canvas.encode()


def draw_sweep(levels: Sequence[Point], knee: int, title: str, subtitle: str) -> bytes:
    """Return the picture of a sweep: a bar for each level, and where the promise breaks."""
    canvas = _Canvas(title, subtitle, max(level.throughput_rps for level in levels))
    for place, level in enumerate(levels):
        middle = (place + 0.5) / len(levels)
        sides = middle - _BAR / 2 / len(levels), middle + _BAR / 2 / len(levels)
        canvas.bar(*sides, level.throughput_rps, _LATE)
        canvas.bar(*sides, level.goodput_rps, _GOOD)
        canvas.x_label(
            middle, f"{level.users} at once", "kept" if level.users <= knee else "broken"
        )
    canvas.frame()
    kept = sum(level.users <= knee for level in levels)
    if kept < len(levels):
        canvas.mark(kept / len(levels))
    return canvas.encode()


def _step(most_rps: float) -> float:
    """Return the smallest round number of which a few reach to the top."""
    power = 10.0 ** math.floor(math.log10(most_rps))
    steps = (factor * power for factor in (0.2, 0.25, 0.5, 1.0, 2.0))
    return next(step for step in steps if step * _Y_STEPS >= most_rps)


class _Canvas:
    """A plot whose x goes from 0 to 1 and whose y is requests per second, from 0."""

    def __init__(self, title: str, subtitle: str, most_rps: float) -> None:
        self._image = Image.new("RGB", (SIZE[0] * _FINE, SIZE[1] * _FINE), _PAPER)
        self._draw = ImageDraw.Draw(self._image)
        self._step_rps = _step(most_rps or 1.0)
        self._steps = math.ceil((most_rps or 1.0) / self._step_rps)
        self._top_rps = self._step_rps * self._steps
        self._text((_LEFT, 24), title, 24, _INK)
        self._text((_LEFT, 58), subtitle, 16, _SOFT)
        for x, colour, words in (
            (_LEFT, _GOOD, "goodput: kept every limit"),
            (
                _LEFT + 240,
                _LATE,
                "answered too, but not within that: both areas are the throughput",
            ),
        ):
            self._rectangle((x, 93, x + 14, 107), colour)
            self._text((x + 22, 90), words, 16, _INK)

    def area(self, xs: Sequence[float], rates_rps: Sequence[float], colour: str) -> None:
        """Fill what lies below a curve."""
        curve = [self._point(x, rate) for x, rate in zip(xs, rates_rps, strict=True)]
        ends = self._point(xs[-1], 0.0), self._point(xs[0], 0.0)
        self._draw.polygon([*curve, *ends], fill=colour)

    def bar(self, left: float, right: float, rate_rps: float, colour: str) -> None:
        """Fill a bar."""
        corners = self._point(left, rate_rps), self._point(right, 0.0)
        self._draw.rectangle(corners, fill=colour)

    def frame(self) -> None:
        """Draw the axes; what lies behind the lines of the grid stays visible."""
        for step in range(self._steps + 1):
            rate_rps = self._step_rps * step
            y = self._point(0, rate_rps)[1] / _FINE
            colour = _LINE if step else _INK
            self._line((_LEFT, y), (_RIGHT, y), colour)
            self._text((_LEFT - 10, y), f"{rate_rps:.3g}", 15, _SOFT, "rm")
        self._text((_LEFT - 10, _TOP - 14), "req/s", 15, _SOFT, "rb")

    def x_label(self, x: float, first: str, second: str) -> None:
        """Write below the axis."""
        at = _LEFT + x * (_RIGHT - _LEFT)
        self._text((at, _BOTTOM + 12), first, 15, _INK, "ma")
        self._text((at, _BOTTOM + 34), second, 15, _SOFT, "ma")

    def mark(self, x: float) -> None:
        """Draw the line behind which the promise is broken."""
        at = _LEFT + x * (_RIGHT - _LEFT)
        self._line((at, _TOP - 6), (at, _BOTTOM), _INK)
        middle = min(max(at, _LEFT + _MARK_WIDTH / 2), _RIGHT - _MARK_WIDTH / 2)
        self._text((middle, _TOP - 10), "the promise breaks here", 15, _INK, "mb")

    def encode(self) -> bytes:
        """Return the file."""
        file = io.BytesIO()
        self._image.resize(SIZE, Image.Resampling.LANCZOS).save(file, "PNG", optimize=True)
        return file.getvalue()

    def _point(self, x: float, rate_rps: float) -> tuple[float, float]:
        y = _BOTTOM - rate_rps / self._top_rps * (_BOTTOM - _TOP)
        return (_LEFT + x * (_RIGHT - _LEFT)) * _FINE, y * _FINE

    def _rectangle(self, corners: tuple[float, float, float, float], colour: str) -> None:
        self._draw.rectangle([corner * _FINE for corner in corners], fill=colour)

    def _line(self, begin: tuple[float, float], end: tuple[float, float], colour: str) -> None:
        self._draw.line([place * _FINE for place in (*begin, *end)], fill=colour, width=_FINE)

    def _text(
        self, at: tuple[float, float], words: str, size: int, colour: str, anchor: str = "la"
    ) -> None:
        font = ImageFont.load_default(size * _FINE)
        place = at[0] * _FINE, at[1] * _FINE
        self._draw.text(place, words, fill=colour, font=font, anchor=anchor)
