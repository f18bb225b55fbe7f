"""The page of results, made from the records of the parts: pure.

A part that was not measured in the latest run keeps its section, with its own date and revision.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.parts.part import table

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from bench.parts import Part
    from bench.report import Check

Record = dict[str, Any]
"""Of one part: `facts`, `command`, `lost`, `data`."""

_ABOUT = (
    "Made by `make bench-full`; [bench/README.md](../README.md) says how each figure is taken. The "
    "machine is shared with others: ratios within a run mean something, absolute figures little."
)
_ALTERNATIVES = {
    "cost": "CPU per token by number of streams",
    "latency": "Latency added at the median and the 99th percentile, by number of streams",
    "saturation": "Latency added by the rate of tokens, up to the saturation of one core",
}


def render(parts: Iterable[Part], records: Mapping[str, Record], pictures: Collection[str]) -> str:
    """Return the whole page as Markdown.

    Args:
        parts: all there are, in the order of the page.
        records: by the name of the part.
        pictures: the names of those that have been drawn.
    """
    measured = [part for part in parts if part.name in records]
    sections = [
        "# goodput-proxy and its peers",
        _ABOUT,
        _machine(records),
        "## The budget",
        budget(check for part in measured for check in part.checks(records[part.name]["data"])),
    ]
    for part in measured:
        record = records[part.name]
        sections += [f"## {part.title}", _origin(record)]
        sections += [
            f"![{_ALTERNATIVES[name]}]({name}.png)" for name in part.plots if name in pictures
        ]
        sections.append(part.section(record["data"]))
        if record["lost"]:
            lost = "\n".join(f"- {what}: {why}" for what, why in record["lost"].items())
            sections.append(f"Not measured:\n\n{lost}")
    return "\n\n".join(sections) + "\n"


def budget(checks: Iterable[Check]) -> str:
    """Return what was promised beside what was measured."""

    def holds(check: Check) -> str:
        if check.measured is None:
            return "not measured"
        if check.must is None:
            return ""
        if not check.meets(check.must):
            return "**no**"
        return "yes" if check.aim is None or not check.meets(check.aim) else "yes, and the aim"

    def limit(check: Check, value: float | None) -> str:
        return "" if value is None else f"{check.sign} {value:,g}"

    def number(value: float | None) -> str:
        if value is None:
            return ""
        return f"{value:,.0f}" if value >= 1000 else f"{value:.2f}"

    rows = [
        [
            check.name,
            limit(check, check.must),
            limit(check, check.aim),
            number(check.measured),
            holds(check),
        ]
        for check in checks
    ]
    return table(["figure", "must", "aim", "measured", "holds"], rows)


def _machine(records: Mapping[str, Record]) -> str:
    latest = max(records.values(), key=lambda record: str(record["facts"]["date"]))
    names = ("machine", "kernel", "python", "packages", "proxies")
    facts: Mapping[str, str] = latest["facts"]
    return "\n".join(f"- {name}: {facts[name]}" for name in names if name in facts)


def _origin(record: Record) -> str:
    facts = record["facts"]
    return f"`{record['command']}`, {facts['date']}, revision {facts['revision']}."
