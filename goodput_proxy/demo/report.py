"""What the demonstration says: addresses, rows, the picture, and the comparison.

Owns every sentence; it computes nothing that `outcome` does not hand it, and `table` and `plot` do
the drawing. The rule: what is claimed is what was measured, and a difference is not smoothed over.
"""

from __future__ import annotations

import shutil
import textwrap
from typing import TYPE_CHECKING

from . import plot
from .knee import OBJECTIVE
from .table import Table, duration_text, rate_text
from .terminal import BOLD, GREEN, YELLOW

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .outcome import Climb, Course, Outcome, Sample, Totals
    from .records import Limits
    from .scenarios import Scenario
    from .terminal import Terminal

_ROWS_PER_HEADER = 20
_PLOT_WIDTH = (40, 78)  # narrowest and widest
_PLOT_HEIGHT = 12
_TEXT_WIDTH, _INDENT = 96, 10  # the first rows are as wide

# The rates in the picture are moving averages over this time, and over no more intervals: answers
# come in lumps.
_SMOOTHING_S, _SMOOTHING = 7.0, 7

_COLOURS: dict[plot.Kind, str] = {"good": GREEN, "late": YELLOW, "empty": ""}


class Report:
    """Tells a demonstration as it goes."""

    def __init__(self, terminal: Terminal, scenario: Scenario) -> None:
        self._terminal = terminal
        self._scenario = scenario
        self._slo = promise(scenario.limits, terminal.within)
        stall = scenario.limits.stall_ns is not None
        self._times = Table(terminal, f"{'time':>6}  {'users':>5}", stall=stall)
        self._levels = Table(terminal, f"{'at once':>7}", stall=stall)
        self._rows = 0

    def opening(self, proxy_url: str, admin_url: str) -> None:
        """Say what happens, where it is to be seen, and what to look at."""
        scenario = self._scenario
        title = textwrap.wrap(f"{scenario.name}: {scenario.story}.", _TEXT_WIDTH)
        watch = textwrap.wrap(f"look at it: {scenario.watch}", _TEXT_WIDTH - _INDENT)
        self._terminal.write(
            *(self._style(line, BOLD) for line in title),
            "",
            f"  live    {admin_url}/",
            *(f"{'':{_INDENT}}{line}" for line in watch),
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
            self._terminal.write(*self._times.header())
        self._rows += 1
        decimals = 0 if sample.seconds > 0.5 else 1
        first = f"{sample.at_s:5.{decimals}f}s  {sample.users:5d}"
        self._terminal.write(self._times.row(first, sample))

    def draining(self, in_flight: int) -> None:
        """Say why nothing seems to happen after the last row."""
        self._terminal.write(
            "", f"No new requests. {in_flight} are still in flight and are let finish ..."
        )

    def closing(self, outcome: Outcome) -> None:
        """Print the averages, the picture, what it says, and whether the clients agree."""
        totals = outcome.totals
        if not totals.records or not outcome.samples:
            self._terminal.write("", "Nothing was measured.")
            return
        if outcome.settled is not None:
            self._write_settled(outcome.settled)
        self._terminal.write("", *self._picture(outcome.samples), "", *self._legend(), "")
        self._terminal.write(*self._answers(totals))
        self._terminal.write(
            _course("throughput", outcome.throughput), _course("goodput", outcome.goodput)
        )
        self._terminal.write("", *_comparison(totals))

    def climbing(self, levels: Sequence[int], level_s: float) -> None:
        """Say what the sweep does, and print the header of its table."""
        counts = ", ".join(map(str, levels[:-1]))
        self._terminal.write(
            "",
            f"A sweep: {counts} and {levels[-1]} users, each for {level_s:.3g}s, of which the last"
            " two thirds count.",
            *self._levels.header(),
        )

    def level(self, sample: Sample) -> None:
        """Print one level of a sweep."""
        self._terminal.write(self._levels.row(f"{sample.users:7d}", sample))

    def summit(self, sweep: Climb) -> None:
        """Print the picture of a sweep, both knees, and whether the clients agree."""
        totals = sweep.totals
        if not totals.records or not sweep.levels:
            self._terminal.write("", "Nothing was measured.")
            return
        points = [
            plot.Point(level.at_s, level.users, level.throughput_rps, level.goodput_rps)
            for level in sweep.levels
        ]
        lines = plot.draw_levels(
            points,
            height=_PLOT_HEIGHT,
            knee=sweep.knee,
            glyphs=self._terminal.glyphs,
            paint=self._paint,
        )
        self._terminal.write("", "  req/s", *lines, "", *self._legend(), "")
        self._terminal.write(*self._knees(sweep), "")
        self._terminal.write(*self._answers(totals), "", *_comparison(totals))

    def _write_settled(self, settled: Sample) -> None:
        first = f"{'all':>6}  {settled.users:5d}"
        begin_s = settled.at_s - settled.seconds
        self._terminal.write(
            "",
            f"All that was answered after the warm-up, from {begin_s:.3g}s to {settled.at_s:.3g}s:",
            *self._times.header()[1:2],
            self._times.row(first, settled),
        )

    def _picture(self, samples: Sequence[Sample]) -> list[str]:
        narrowest, widest = _PLOT_WIDTH
        columns = shutil.get_terminal_size().columns - plot.MARGIN - len(" users") - 2
        return [
            "  req/s",
            *plot.draw(
                smooth(samples),
                width=min(widest, max(narrowest, columns)),
                height=_PLOT_HEIGHT,
                glyphs=self._terminal.glyphs,
                paint=self._paint,
            ),
        ]

    def _legend(self) -> list[str]:
        glyphs = self._terminal.glyphs
        good = self._style(glyphs.good * 2, GREEN)
        late = self._style(glyphs.late * 2, YELLOW)
        return [
            f"  {good} goodput: answered with {self._slo}",
            f"  {late} answered too, but not within that: both areas together are the throughput",
        ]

    def _answers(self, totals: Totals) -> list[str]:
        good, total = totals.http_200, len(totals.answers)
        claim = (
            f"Every one of the {good} answers was HTTP 200."
            if good == total
            else f"{good} of {total} answers were HTTP 200."
        )
        lines = [self._style(f"  {claim}", BOLD)]
        if totals.cut:
            waiting = "were still being waited for when the users were sent home."
            lines.append(f"  {totals.cut} more {waiting}")
        return lines

    def _knees(self, sweep: Climb) -> list[str]:
        agree = "They agree."
        if sweep.knee != sweep.proxys_knee:
            agree = (
                "They differ: the proxy counts the warm-ups as well, and requests by how many were"
                " in flight when they came."
            )
        lines = [
            f"The load up to which {OBJECTIVE:.0%} of the requests are good:",
            f"  this sweep                    {_knee(sweep.knee)}",
            f"  goodput_load_requests_total   {_knee(sweep.proxys_knee)}, the proxy's own count",
            f"  {agree}",
        ]
        return [f"  {line}" for line in lines]

    def _paint(self, text: str, kind: plot.Kind) -> str:
        return self._style(text, _COLOURS[kind])

    def _style(self, text: str, code: str) -> str:
        return self._terminal.style(text, code)


def promise(limits: Limits, within: str) -> str:
    """Return the limits in words."""
    stall_ns = limits.stall_ns
    names = [("TTFT", limits.ttft_ns), ("ITL", limits.itl_ns)]
    if stall_ns is not None:
        names.append(("stall", stall_ns))
    texts = [f"{name} {within} {duration_text(limit_ns)}" for name, limit_ns in names]
    return ", ".join(texts[:-1]) + f" and {texts[-1]}"


def smooth(samples: Sequence[Sample]) -> list[plot.Point]:
    """Return the run with its rates averaged over their neighbours."""
    points = []
    for index, sample in enumerate(samples):
        near = [
            other
            for other in samples[max(0, index - _SMOOTHING // 2) : index + _SMOOTHING // 2 + 1]
            if abs(other.at_s - sample.at_s) <= _SMOOTHING_S / 2
        ]
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


def _knee(load: int) -> str:
    return f"{load:3d} at once" if load else "none"


def _comparison(totals: Totals) -> list[str]:
    ours, theirs = totals.verdicts, totals.recount
    agreement = "They agree exactly"
    if totals.disagreement:
        agreement = f"They differ by {totals.disagreement}"
    near = (
        f"{totals.near_limit} of {len(totals.records)} requests were within"
        f" {duration_text(totals.clock_error_ns)} of a limit, where two observers may differ."
    )
    doubt = [] if totals.explained else ["  That does not explain it: is this machine overloaded?"]
    return [
        "                         good    slow  failed",
        f"  proxy, from /metrics {ours.good:6d}  {ours.slow:6d}  {ours.failed:6d}",
        f"  recount by clients   {theirs.good:6d}  {theirs.slow:6d}  {theirs.failed:6d}",
        f"  {agreement}; {near}",
        *doubt,
        *_faults(totals),
        *_density(totals),
    ]


def _faults(totals: Totals) -> list[str]:
    if not totals.faults:
        return []
    causes = "".join(f"{cause:>14}" for cause in totals.faults)
    did = "".join(f"{count:14d}" for count in totals.faults.values())
    found = "".join(f"{totals.errors[cause]:14d}" for cause in totals.faults)
    return [
        "",
        f"{'':23}{causes}",
        f"  failed on purpose    {did}",
        f"  proxy, from /metrics {found}",
    ]


def _density(totals: Totals) -> list[str]:
    density = totals.density
    if density is None:
        return []
    by_tokens = duration_text(density.itl_ns)
    by_records = duration_text(density.itl_by_records_ns)
    return [
        "",
        f"  An answer has {density.tokens:.1f} tokens in {density.records:.1f} records.",
        f"  ITL by tokens is {by_tokens}; who takes records for tokens gets {by_records}.",
    ]


def _course(name: str, course: Course) -> str:
    return (
        f"  {name:<11} peak {rate_text(course.peak_rps):>5} req/s,"
        f" at the end {rate_text(course.final_rps):>5} req/s: {course.kept:.0%} of its peak"
    )
