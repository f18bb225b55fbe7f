"""What the gate prints: a table for people, or JSON for programs."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from .ruling import ExitCode, Status

if TYPE_CHECKING:
    from .counts import Counts, Observation
    from .ruling import Ruling

_HEADINGS = ("class", "requests", "goodput/s", "throughput/s", "ratio", "min", "", "not good")
_TEXT_COLUMNS = (0, 6, 7)
_WORDS = {Status.OK: "ok", Status.BELOW: "BELOW", Status.TOO_FEW: "too few"}


def render_table(observation: Observation, ruling: Ruling, min_requests: int) -> str:
    """Return one line for each class, one for all of them, and the conclusion."""
    rows: list[tuple[str, ...]] = [_HEADINGS]
    rows += [
        (row.slo, *_cells(row.counts, observation.window_s, row.minimum, _WORDS[row.status]))
        for row in ruling.rows
    ]
    rows.append(("all", *_cells(ruling.total, observation.window_s)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if i in _TEXT_COLUMNS else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    return "\n".join([*lines, "", _conclude(observation, ruling, min_requests)])


def render_json(observation: Observation, ruling: Ruling) -> str:
    """Return the same as one JSON object; a ratio that does not exist is null."""
    window_s = observation.window_s
    return json.dumps(
        {
            "ok": ruling.exit_code is ExitCode.OK,
            "exit_code": int(ruling.exit_code),
            "source": observation.source,
            "window_seconds": window_s,
            "note": observation.note,
            "classes": [
                {
                    "slo": row.slo,
                    "status": row.status,
                    "min": row.minimum,
                    **_numbers(row.counts, window_s),
                }
                for row in ruling.rows
            ],
            "all": _numbers(ruling.total, window_s),
        },
        indent=2,
    )


def _cells(
    counts: Counts, window_s: float, minimum: float | None = None, word: str = ""
) -> tuple[str, ...]:
    causes = (f"{cause} {count:.0f}" for cause, count in counts.causes.items())
    return (
        f"{counts.judged:.0f}",
        f"{counts.good / window_s:.2f}",
        f"{counts.answered / window_s:.2f}",
        _percent(counts.ratio),
        _percent(minimum),
        word,
        " ".join(causes),
    )


def _numbers(counts: Counts, window_s: float) -> dict[str, Any]:
    return {
        "requests": counts.judged,
        "goodput_per_second": counts.good / window_s,
        "throughput_per_second": counts.answered / window_s,
        "ratio": counts.ratio,
        "verdicts": {
            verdict: counts.of(verdict) for verdict in sorted({v for v, _ in counts.by_cause})
        },
        "causes": counts.causes,
    }


def _conclude(observation: Observation, ruling: Ruling, min_requests: int) -> str:
    where = f"{observation.window_s:.0f} s at {observation.source}"
    if ruling.exit_code is ExitCode.OK:
        return f"ok: {where}"
    if ruling.exit_code is ExitCode.TOO_FEW:
        return f"too few requests to judge, fewer than {min_requests} in every class: {where}"
    below = (
        f"{row.slo} {_percent(row.counts.ratio)} < {_percent(row.minimum)}"
        for row in ruling.rows
        if row.status is Status.BELOW
    )
    return f"below: {', '.join(below)}: {where}"


def _percent(ratio: float | None) -> str:
    """Return a percentage, rounded down: what is below 95 % must not look like it."""
    if ratio is None:
        return "-"
    return f"{math.floor(ratio * 10_000 + 1e-6) / 100:.2f}%"
