"""What the terminal shows: addresses, one row per interval, the picture, and the comparison.

Owns every sentence and column of the demonstration; it computes nothing that `outcome` does not
hand it. The rule: colour and block characters only where the terminal shows them, and the same
words without.
"""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, TextIO

from . import plot
from .records import CUT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .outcome import Course, Outcome, Sample, Spread

_ROWS_PER_HEADER = 20
_BAR_WIDTH = 10
_PLOT_WIDTH = (40, 78)  # narrowest and widest
_PLOT_HEIGHT = 12

# The rates in the picture are moving averages over this many intervals: answers come in lumps.
_SMOOTHING = 7

_GREEN, _YELLOW, _BOLD, _DIM = "32", "33", "1", "2"
_COLOURS = {"good": _GREEN, "late": _YELLOW, "empty": ""}


class Report:
    """Writes the demonstration to a terminal or a file."""

    def __init__(self, out: TextIO, ttft_limit_ns: int, itl_limit_ns: int) -> None:
        self._out = out
        self._coloured = out.isatty() and "NO_COLOR" not in os.environ
        self._glyphs = plot.BLOCKS if _can_encode(out, "█░│─┴≤") else plot.ASCII
        within = "≤" if self._glyphs is plot.BLOCKS else "<="
        self._slo = (
            f"TTFT {within} {_duration(ttft_limit_ns)} and ITL {within} {_duration(itl_limit_ns)}"
        )
        self._rows = 0

    def opening(self, proxy_url: str, admin_url: str) -> None:
        """Say what runs where, and how to look at it from outside."""
        self._write(
            self._style("A simulated inference server, the proxy, and more and more users.", _BOLD),
            "",
            f"  SLO     {self._slo}",
            f"  proxy   {proxy_url}/v1",
            f"  admin   {admin_url}",
            f"          curl -s {admin_url}/metrics | grep ^goodput_requests_total",
            "  PromQL  sum(rate(goodput_requests_total[1m]))                 throughput",
            "          sum(rate(goodput_slo_compliant_requests_total[1m]))   goodput",
        )

    def row(self, sample: Sample) -> None:
        """Print one interval."""
        if self._rows % _ROWS_PER_HEADER == 0:
            self._header()
        self._rows += 1
        decimals = 0 if sample.seconds > 0.9 else 1
        causes = " ".join(f"{cause} {count}" for cause, count in sample.verdicts.causes.items())
        self._write(
            f"{sample.at_s:5.{decimals}f}s  {sample.users:5d}  {sample.throughput_rps:10.1f}"
            f"  {sample.goodput_rps:7.1f}  {self._ratio(sample.verdicts.ratio)}"
            f"  {_spread(sample.ttft)}  {_spread(sample.itl)}  {causes}".rstrip()
        )

    def draining(self, in_flight: int) -> None:
        """Say why nothing seems to happen after the last row."""
        self._write("", f"No new requests. {in_flight} are still in flight and are let finish ...")

    def closing(self, outcome: Outcome) -> None:
        """Print the picture, what it says, and whether the clients agree."""
        if not outcome.records or not outcome.samples:
            self._write("", "Nothing was measured.")
            return
        self._write("", *self._picture(outcome.samples), "")
        self._write(*self._legend(), "")
        self._write(*self._answers(outcome))
        self._write(_course("throughput", outcome.throughput), _course("goodput", outcome.goodput))
        self._write("", *_comparison(outcome))

    def _header(self) -> None:
        columns = (
            f"{'time':>6}  {'users':>5}  {'throughput':>10}  {'goodput':>7}  {'ratio':<16}"
            f"  {'TTFT p50 / p95':>15}  {'ITL p50 / p95':>15}  not good"
        )
        units = f"{'req/s':>25}  {'req/s':>7}"
        self._write("", self._style(columns, _BOLD), self._style(units, _DIM))

    def _ratio(self, ratio: float | None) -> str:
        """Return the ratio as a number and as a bar, always equally wide."""
        if ratio is None:
            return "   -  " + " " * _BAR_WIDTH
        filled = round(ratio * _BAR_WIDTH)
        bar = self._style(self._glyphs.good * filled, _GREEN)
        bar += self._style(self._glyphs.late * (_BAR_WIDTH - filled), _YELLOW)
        return f"{ratio:4.0%}  {bar}"

    def _picture(self, samples: Sequence[Sample]) -> list[str]:
        narrowest, widest = _PLOT_WIDTH
        columns = shutil.get_terminal_size().columns - plot.MARGIN - len(" users") - 2
        return [
            "  req/s",
            *plot.draw(
                _smooth(samples),
                width=min(widest, max(narrowest, columns)),
                height=_PLOT_HEIGHT,
                glyphs=self._glyphs,
                paint=lambda text, kind: self._style(text, _COLOURS[kind]),
            ),
        ]

    def _legend(self) -> list[str]:
        good = self._style(self._glyphs.good * 2, _GREEN)
        late = self._style(self._glyphs.late * 2, _YELLOW)
        return [
            f"  {good} goodput: answered with {self._slo}",
            f"  {late} answered too, but not within that: both areas together are the throughput",
        ]

    def _answers(self, outcome: Outcome) -> list[str]:
        answers = [record for record in outcome.records if record.error != CUT]
        good = sum(record.status == 200 for record in answers)
        claim = (
            f"Every one of the {good} answers was HTTP 200."
            if good == len(answers)
            else f"{good} of {len(answers)} answers were HTTP 200."
        )
        lines = [self._style(f"  {claim}", _BOLD)]
        if outcome.cut:
            waiting = "were still being waited for when the users were sent home."
            lines.append(f"  {outcome.cut} more {waiting}")
        return lines

    def _style(self, text: str, code: str) -> str:
        return f"\033[{code}m{text}\033[0m" if self._coloured and code and text else text

    def _write(self, *lines: str) -> None:
        for line in lines:
            print(line, file=self._out, flush=True)


def _comparison(outcome: Outcome) -> list[str]:
    ours, theirs = outcome.verdicts, outcome.recount
    agreement = "They agree exactly"
    if outcome.disagreement:
        agreement = f"They differ by {outcome.disagreement}"
    near = (
        f"{outcome.near_limit} of {len(outcome.records)} requests were within"
        f" {_duration(outcome.clock_error_ns)} of a limit, where two observers may differ."
    )
    doubt = [] if outcome.explained else ["  That does not explain it: is this machine overloaded?"]
    return [
        "                         good    slow  failed",
        f"  proxy, from /metrics {ours.good:6d}  {ours.slow:6d}  {ours.failed:6d}",
        f"  recount by clients   {theirs.good:6d}  {theirs.slow:6d}  {theirs.failed:6d}",
        f"  {agreement}; {near}",
        *doubt,
    ]


def _course(name: str, course: Course) -> str:
    return (
        f"  {name:<11} peak {course.peak_rps:5.1f} req/s, at the end {course.final_rps:5.1f} req/s:"
        f" {course.kept:.0%} of its peak"
    )


def _smooth(samples: Sequence[Sample]) -> list[plot.Point]:
    """Return the run with its rates averaged over their neighbours."""
    points = []
    for index, sample in enumerate(samples):
        near = samples[max(0, index - _SMOOTHING // 2) : index + _SMOOTHING // 2 + 1]
        seconds = sum(neighbour.seconds for neighbour in near)
        points.append(
            plot.Point(
                at_s=sample.at_s,
                users=sample.users,
                throughput_rps=sum(neighbour.verdicts.completed for neighbour in near) / seconds,
                goodput_rps=sum(neighbour.verdicts.good for neighbour in near) / seconds,
            )
        )
    return points


def _spread(spread: Spread | None) -> str:
    if spread is None:
        return f"{'-':>6} / {'-':>6}"
    return f"{_duration(spread.p50_ns):>6} / {_duration(spread.p95_ns):>6}"


def _duration(duration_ns: float) -> str:
    """Return a duration with its unit, as precise as a reader in a hurry can use."""
    if duration_ns < 9_950_000:
        return f"{duration_ns / 1e6:.2g}ms"
    if duration_ns < 999_500_000:
        return f"{duration_ns / 1e6:.0f}ms"
    return f"{duration_ns / 1e9:.2f}s"


def _can_encode(out: TextIO, text: str) -> bool:
    try:
        text.encode(out.encoding or "utf-8")
    except UnicodeEncodeError:
        return False
    return True
