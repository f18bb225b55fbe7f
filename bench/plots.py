"""Draws the results: `python bench/plots.py FOLDER` reads its records and writes its pictures.

It runs in an environment that has the library for it and nothing else, so it imports nothing of the
bench. Pictures have no ground of their own and colours that can be told apart on a light and on a
dark one.
"""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt

_INK = "#7d8590"
_COLOURS = {
    "goodput-proxy compiled": "#e8590c",
    "goodput-proxy": "#f59f00",
    "nginx": "#2f9e44",
    "HAProxy": "#1098ad",
    "Envoy": "#7048e8",
    "vllm-router": "#4c6ef5",
    "plain aiohttp": "#d6336c",
}
_DIRECT = "direct"
_OURS = "goodput-proxy"
# A README is some 830 px wide; twice that is sharp on any screen.
_INCHES, _DPI = (8.3, 4.2), 200
_LIMIT_MS = 10.0

Points = list[tuple[float, float]]


def main() -> None:
    """Draw what there are records for."""
    folder = Path(sys.argv[1])
    mpl.rcParams.update(
        {
            "axes.edgecolor": _INK,
            "axes.labelcolor": _INK,
            "axes.spines.right": False,
            "axes.spines.top": False,
            "axes.titlecolor": _INK,
            "axes.titlesize": 11,
            "font.size": 10.5,
            "grid.alpha": 0.35,
            "grid.color": _INK,
            "legend.frameon": False,
            "legend.labelcolor": _INK,
            "xtick.color": _INK,
            "ytick.color": _INK,
        }
    )
    streams, saturation = (_read(folder / f"{name}.json") for name in ("streams", "saturation"))
    if streams:
        _draw_cost(streams, folder / "cost.png")
        _draw_latency(streams, folder / "latency.png")
    if saturation:
        _draw_saturation(saturation, folder / "saturation.png")


def _read(path: Path) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(path.read_text("utf-8"))["data"] if path.exists() else {}
    return data


def _draw_cost(data: dict[str, Any], path: Path) -> None:
    figure, axes = _figure("CPU per token", "streams", "µs")
    for peer in _peers(data["measured"]):
        points = _medians(
            (one["streams"], one["flow"]["cpu_us_per_token"])
            for one in data["measured"]
            # A proxy without time to spare sends tokens in groups, and seems cheap.
            if one["peer"] == peer and one["flow"]["proxy_core_share"] < 0.95
        )
        _line(axes, peer, [point for point in points if point[0] > 1])
    _finish(figure, axes, path, data)


def _draw_latency(data: dict[str, Any], path: Path) -> None:
    figure, (left, right) = plt.subplots(1, 2, figsize=_INCHES, sharey=True)
    for axes, name in ((left, "p50_ms"), (right, "p99_ms")):
        axes.set_title(f"added latency, {name.removesuffix('_ms')}", loc="left")
        axes.set_xlabel("streams")
        direct = {
            (one["streams"], one["round"]): one["flow"][name]
            for one in data["measured"]
            if one["peer"] == _DIRECT
        }
        for peer in _peers(data["measured"]):
            points = _medians(
                (one["streams"], one["flow"][name] - direct[one["streams"], one["round"]])
                for one in data["measured"]
                if one["peer"] == peer and (one["streams"], one["round"]) in direct
            )
            _line(axes, peer, [(x, max(y, 0.01)) for x, y in points])
        axes.set_yscale("log")
        _scale(axes, data)
    left.set_ylabel("ms")
    _save(figure, right, path)


def _draw_saturation(data: dict[str, Any], path: Path) -> None:
    figure, axes = _figure("added p99 on one core", "tokens/s", "ms")
    for peer in _peers(data["steps"]):
        points = _medians(
            (step["rate"], max(step["added_p99_ms"], 0.01))
            for step in data["steps"]
            if step["peer"] == peer and step["added_p99_ms"] is not None
        )
        _line(axes, peer, points)
    axes.axhline(_LIMIT_MS, color=_INK, linestyle=":", linewidth=1)
    axes.set_yscale("log")
    axes.set_xlim(left=0)
    axes.xaxis.set_major_formatter(lambda value, _position: f"{value:,.0f}")
    axes.grid(visible=True)
    _save(figure, axes, path)


def _figure(title: str, across: str, up: str) -> tuple[Any, Any]:
    figure, axes = plt.subplots(figsize=_INCHES)
    axes.set_title(title, loc="left")
    axes.set_xlabel(across)
    axes.set_ylabel(up)
    return figure, axes


def _peers(found: list[dict[str, Any]]) -> list[str]:
    return [name for name in dict.fromkeys(one["peer"] for one in found) if name in _COLOURS]


def _medians(pairs: Any) -> Points:
    """Return the median of y for each x, by x."""
    by_x: dict[float, list[float]] = {}
    for x, y in pairs:
        by_x.setdefault(x, []).append(y)
    return [(x, statistics.median(ys)) for x, ys in sorted(by_x.items())]


def _line(axes: Any, peer: str, points: Points) -> None:
    axes.plot(
        [x for x, _ in points],
        [y for _, y in points],
        color=_COLOURS[peer],
        label=peer,
        linewidth=2.6 if peer.startswith(_OURS) else 1.6,
        marker="o",
        markersize=4,
    )


def _scale(axes: Any, data: dict[str, Any]) -> None:
    axes.set_xscale("log")
    levels = [level["streams"] for level in data["levels"]]
    axes.set_xticks(levels, [f"{level:,}" for level in levels])
    axes.minorticks_off()
    axes.grid(visible=True)


def _finish(figure: Any, axes: Any, path: Path, data: dict[str, Any]) -> None:
    axes.set_ylim(bottom=0)
    _scale(axes, data)
    _save(figure, axes, path)


def _save(figure: Any, axes: Any, path: Path) -> None:
    handles, names = axes.get_legend_handles_labels()
    figure.legend(handles, names, loc="lower center", ncols=4)
    figure.tight_layout(rect=(0, 0.13, 1, 1))
    figure.savefig(path, dpi=_DPI, transparent=True)
    plt.close(figure)


if __name__ == "__main__":
    main()
