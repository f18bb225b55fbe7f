"""The tables of `docs/agreement.md`, and how they get there.

The page is prose with two blocks between markers, which only a run of the comparison writes: its
numbers are measured, not typed.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.agreement.clients import Seen
    from tests.agreement.compare import LoadResult, Row

PAGE = Path(__file__).parents[2] / "docs" / "agreement.md"
BEGIN = "<!-- {}: written by `make verify-aiperf ARGS=--write` -->"
END = "<!-- end of {} -->"
HEADINGS = (
    "#",
    "what the server sends",
    "AIPerf, its tokenizer",
    "AIPerf, usage",
    "vLLM's client",
    "this proxy",
    "what makes the difference",
)


def replace(text: str, name: str, block: str) -> str:
    """Return a page with a block between its markers."""
    begin, end = BEGIN.format(name), END.format(name)
    before, found, rest = text.partition(begin)
    _, ended, after = rest.partition(end)
    if not (found and ended):
        raise ValueError(f"the page has no block {name!r}")
    return f"{before}{begin}\n\n{block}\n\n{end}{after}"


def write(load: str, scenarios: str) -> None:
    """Write both blocks into the page."""
    text = PAGE.read_text(encoding="utf-8")
    text = replace(replace(text, "load", load), "scenarios", scenarios)
    PAGE.write_text(text, encoding="utf-8")


def render_load(result: LoadResult, facts: Mapping[str, str]) -> str:
    """Return the comparison of a load, with what it was measured on and by which command."""
    theirs, ours = result.aiperf, result.means_ms
    rows = [
        ("", "AIPerf", "this proxy", "difference"),
        _counts("requests", theirs.requests, result.requests),
        _counts("good", theirs.good, result.good),
        _counts("not good", theirs.requests - theirs.good, result.requests - result.good),
        *(
            (
                f"mean {name.upper()}",
                f"{theirs.means_ms[name]:.3f} ms",
                f"{ours[name]:.3f} ms",
                f"{result.difference_ms[name]:+.3f} ms",
            )
            for name in ("ttft", "itl", "e2e")
        ),
    ]
    words = (
        f"{len(result.unequal)} of {result.requests} requests differ in their verdict or their"
        " number of tokens. The value nearest to its limit was"
        f" {result.clearance_ms:.1f} ms away from it. Of its mean TTFT AIPerf spent"
        f" {result.connecting_ms:.3f} ms on opening connections, by its own account; the median of"
        f" the differences in TTFT is {result.median_ttft_difference_ms:.3f} ms."
    )
    told = [f"* {name}: {fact}" for name, fact in facts.items()]
    return "\n".join([*_table(rows), "", words, "", *told, f"* AIPerf: `{theirs.command}`"])


def render_scenarios(rows: Sequence[Row]) -> str:
    """Return the table of scenarios; each cell has the outcome, and TTFT / E2E / ITL in ms."""
    cells = [
        HEADINGS,
        *(
            (
                str(row.scenario.number),
                row.scenario.name,
                _cell(row.aiperf[0]),
                _cell(row.aiperf[1]),
                _cell(row.vllm),
                _own_cell(row.judged[1]),
                row.scenario.why,
            )
            for row in rows
        ),
    ]
    totals = (
        f"Of the {len(rows)}, AIPerf calls {_count(rows, 0)} good with its tokenizer and"
        f" {_count(rows, 1)} with the server's usage, vLLM's client calls"
        f" {sum(row.vllm.outcome == 'ok' for row in rows)} a success, and this proxy calls"
        f" {sum(row.judged[1].outcome == 'good' for row in rows)} `good` and"
        f" {sum(row.judged[1].outcome == 'good_partial' for row in rows)} `good_partial`."
    )
    return "\n".join([*_table(cells), "", totals])


def _count(rows: Sequence[Row], run: int) -> int:
    return sum(row.aiperf[run].outcome == "good" for row in rows)


def _own_cell(seen: Seen) -> str:
    verdict, _, cause = seen.outcome.partition(" ")
    return _with_times(f"`{verdict}` {cause}".strip(), seen)


def _cell(seen: Seen) -> str:
    return _with_times(seen.outcome, seen)


def _with_times(outcome: str, seen: Seen) -> str:
    values = [seen.ttft_ms, seen.e2e_ms, seen.itl_ms]
    if all(value is None for value in values):
        return outcome
    shown = " / ".join("-" if value is None else f"{value:.0f}" for value in values)
    return f"{outcome}; {shown}"


def _counts(name: str, theirs: int, ours: int) -> tuple[str, str, str, str]:
    return name, str(theirs), str(ours), str(theirs - ours)


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    lines.insert(1, "|" + "---|" * len(rows[0]))
    return lines
