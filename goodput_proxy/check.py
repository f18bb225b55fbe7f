"""`goodput-proxy check`: the policy that the settings make, as a table for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .policy import DEFAULT_CLASS

if TYPE_CHECKING:
    from .settings import MatchSettings, Settings

_HEADINGS = ("class", "match", "ttft", "itl", "stall", "e2e", "objective")


def render_policy(settings: Settings) -> str:
    """Return the classes in the order in which they are tried, one line each."""
    rows: list[tuple[str, ...]] = [_HEADINGS]
    for name, match, slo in (
        *((c.name, _describe(c.match), c) for c in settings.slo_classes),
        (DEFAULT_CLASS, "everything else" if settings.slo_classes else "everything", settings.slo),
    ):
        limits = (slo.ttft, slo.itl, slo.stall, slo.e2e)
        cells = ("-" if limit is None else str(limit) for limit in limits)
        rows.append((name, match, *cells, f"{slo.objective:g}"))
    widths = [max(len(row[i]) for row in rows) for i in range(len(_HEADINGS))]
    lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) for row in rows]
    return "\n".join(line.rstrip() for line in lines)


def _describe(match: MatchSettings) -> str:
    parts = [f"model={match.model}"] if match.model else []
    parts += [f"path={match.path}"] if match.path else []
    parts += [f"{name.lower()}={glob}" for name, glob in match.headers.items()]
    return " ".join(parts) or "everything"
