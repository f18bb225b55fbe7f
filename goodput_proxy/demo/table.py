"""The columns of a run and of a sweep: what stands in them, and how numbers are written.

Pure text, but for the colours of the bar. The rule: a column is as wide in every row, and a number
as precise as a reader in a hurry can use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .terminal import BOLD, DIM, GREEN, YELLOW

if TYPE_CHECKING:
    from .outcome import Sample, Spread
    from .terminal import Terminal

_BAR_WIDTH = 10
_SPREAD_WIDTH = 15


class Table:
    """Rows of samples below a header.

    Args:
        terminal: for colours and characters.
        first: title of the columns that come before all others.
        stall: whether there is a column of stalls.
    """

    def __init__(self, terminal: Terminal, first: str, *, stall: bool) -> None:
        self._terminal = terminal
        self._first = first
        self._spreads = ("TTFT", "ITL", "stall") if stall else ("TTFT", "ITL")

    def header(self) -> list[str]:
        """Return the titles and their units."""
        spreads = "  ".join(f"{f'{name} p50 / p95':>{_SPREAD_WIDTH}}" for name in self._spreads)
        titles = f"{self._first}  {'throughput':>10}  {'goodput':>7}  {'ratio':<16}  {spreads}"
        units = f"{'':{len(self._first)}}  {'req/s':>10}  {'req/s':>7}"
        style = self._terminal.style
        return ["", style(f"{titles}  not good", BOLD), style(units, DIM)]

    def row(self, first: str, sample: Sample) -> str:
        """Return one row; `first` is what stands in the columns before all others."""
        measured = {"TTFT": sample.ttft, "ITL": sample.itl, "stall": sample.stall}
        spreads = "  ".join(spread_text(measured[name]) for name in self._spreads)
        causes = " ".join(f"{cause} {count}" for cause, count in sample.verdicts.causes.items())
        return (
            f"{first}  {rate_text(sample.throughput_rps):>10}"
            f"  {rate_text(sample.goodput_rps):>7}  {self._ratio(sample.verdicts.ratio)}"
            f"  {spreads}  {causes}"
        ).rstrip()

    def _ratio(self, ratio: float | None) -> str:
        """Return the ratio as a number and as a bar, always equally wide."""
        if ratio is None:
            return "   -  " + " " * _BAR_WIDTH
        filled = round(ratio * _BAR_WIDTH)
        glyphs, style = self._terminal.glyphs, self._terminal.style
        bar = style(glyphs.good * filled, GREEN)
        bar += style(glyphs.late * (_BAR_WIDTH - filled), YELLOW)
        return f"{ratio:4.0%}  {bar}"


def rate_text(rps: float) -> str:
    """Return a rate; one below 1 has two decimals, since its first may be a zero."""
    return f"{rps:.2f}" if 0 < rps < 0.995 else f"{rps:.1f}"


def spread_text(spread: Spread | None) -> str:
    """Return median and 95th percentile."""
    if spread is None:
        return f"{'-':>6} / {'-':>6}"
    return f"{duration_text(spread.p50_ns):>6} / {duration_text(spread.p95_ns):>6}"


def duration_text(duration_ns: float) -> str:
    """Return a duration with its unit."""
    if duration_ns < 9_950_000:
        return f"{duration_ns / 1e6:.2g}ms"
    if duration_ns < 999_500_000:
        return f"{duration_ns / 1e6:.0f}ms"
    return (
        f"{duration_ns / 1e9:.2f}s" if duration_ns < 9_995_000_000 else f"{duration_ns / 1e9:.1f}s"
    )
