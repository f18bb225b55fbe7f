"""`goodput-proxy check`: the policy that the settings make, as a table for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .policy import DEFAULT_CLASS
from .settings import Settings

if TYPE_CHECKING:
    from .settings import MatchSettings, SloHeaderSettings

_HEADINGS = ("class", "match", "preset", "ttft", "itl", "stall", "e2e", "objective")


class CheckSettings(Settings):
    """Validate the settings of `serve` and print the policy that they make.

    --request KEY=VALUE,... also tells which class a request would fall in, and why. Keys are
    method, path, model and header=NAME:VALUE. It may come several times, and so may header.
    """


def render_policy(settings: Settings) -> str:
    """Return the classes in the order in which they are tried, and what requests may choose."""
    rows: list[tuple[str, ...]] = [_HEADINGS]
    for name, match, slo in (
        *((c.name, _describe(c.match), c) for c in settings.slo_classes),
        (DEFAULT_CLASS, "everything else" if settings.slo_classes else "everything", settings.slo),
    ):
        limits = (slo.ttft, slo.itl, slo.stall, slo.e2e)
        cells = ("-" if limit is None else str(limit) for limit in limits)
        rows.append((name, match, slo.preset or "-", *cells, f"{slo.objective:g}"))
    widths = [max(len(row[i]) for row in rows) for i in range(len(_HEADINGS))]
    lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) for row in rows]
    lines += _describe_headers(settings.slo_headers)
    return "\n".join(line.rstrip() for line in lines)


def _describe(match: MatchSettings) -> str:
    parts = [f"model={match.model}"] if match.model else []
    parts += [f"path={match.path}"] if match.path else []
    parts += [f"{name.lower()}={glob}" for name, glob in match.headers.items()]
    return " ".join(parts) or "everything"


def _describe_headers(headers: SloHeaderSettings) -> list[str]:
    lines = []
    if headers.limits:
        bounds = f"from {headers.smallest} to {headers.largest}"
        lines.append(f"x-slo-ttft-ms and x-slo-tpot-ms stand in for ttft and itl, {bounds}")
    if headers.classes:
        lines.append("x-slo-class names the class, whatever matches")
    return lines
