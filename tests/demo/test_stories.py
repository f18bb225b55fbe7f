"""Each scenario as it is really run, in a fraction of its time: its story, and what is kept of it.

Limits are scaled with the server, and so is what a busy machine may add before a request is late;
the claims are such that a slow machine does not make them false.
"""

from __future__ import annotations

import asyncio
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

from goodput_proxy.demo.engine import Profile
from goodput_proxy.demo.faults import Fault
from goodput_proxy.demo.picture import SIZE
from goodput_proxy.demo.records import Limits
from goodput_proxy.demo.run import DemoOptions, climb, play
from goodput_proxy.demo.scenarios import RAMP, SCENARIOS
from goodput_proxy.demo.workload import Workload

if TYPE_CHECKING:
    from goodput_proxy.demo.outcome import Outcome

MS = 1_000_000
# What passes in real time is played again when another program has taken the processor from it.
ATTEMPTS = 3
ROOT = Path(__file__).resolve().parents[2]
SCHEMA: dict[str, Any] = json.loads((ROOT / "docs/demo.schema.json").read_text("utf-8"))
PNG = b"\x89PNG\r\n\x1a\n"


async def tell(
    name: str, factor: float, *, duration_s: float | None = None, folder: Path | None = None
) -> tuple[Outcome, str]:
    """Run a scenario in another time; return what came of it and what was printed."""
    scenario = SCENARIOS[name].scaled(factor)
    options = DemoOptions(scenario, duration_s or scenario.duration_s, out=folder)
    out = io.StringIO()
    outcome = await play(options, out, asyncio.Event())
    return outcome, out.getvalue()


async def test_overload(tmp_path: Path) -> None:
    """Nearly all is answered too late, all with HTTP 200; the last row says so."""
    outcome, text = await tell("overload", 0.04, folder=tmp_path)

    assert {record.status for record in outcome.totals.records} == {200}
    assert "answers was HTTP 200." in text
    assert outcome.settled is not None
    assert outcome.settled.verdicts.ratio is not None
    assert outcome.settled.verdicts.ratio <= 0.03
    assert outcome.settled.throughput_rps * 0.04 == pytest.approx(0.9, abs=0.2)
    assert is_plain(text)
    kept = read(tmp_path / "overload.json", "Run")
    assert kept["kind"] == "run"
    assert kept["settled"]["ratio"] == outcome.settled.verdicts.ratio
    assert kept["totals"]["answers"] == kept["totals"]["http_200"] == len(outcome.totals.records)
    assert len(kept["rows"]) == len(outcome.samples)
    assert_is_picture(tmp_path / "overload.png")


async def test_steady() -> None:
    """With as many users as it can serve, goodput is throughput, row by row."""
    outcome, text = await tell("steady", 0.5, duration_s=3.0)

    ratios = [sample.verdicts.ratio for sample in outcome.samples]
    assert min(ratio for ratio in ratios if ratio is not None) >= 0.95
    assert outcome.totals.verdicts.good >= 30
    assert is_plain(text)


async def test_spec_decode() -> None:
    """Tokens are counted by usage, not by records; the mean is well, and the stall is not."""
    outcome, text = await tell("spec-decode", 0.25, duration_s=3.0)

    verdicts, density = outcome.totals.verdicts, outcome.totals.density
    assert density is not None
    assert density.tokens > 2.5 * density.records
    assert verdicts.counts["slow", "stall"] >= 5
    assert verdicts.output_tokens == sum(r.output_tokens for r in outcome.totals.records)
    assert verdicts.token_sources == {"usage": len(outcome.totals.records)}
    assert "who takes records for tokens gets" in text


async def test_long_prompts() -> None:
    """Who asks for little waits for those who ask for much."""
    outcome, text = await tell("long-prompts", 0.25, duration_s=3.0)

    ratio = outcome.totals.verdicts.ratio
    assert ratio is not None
    assert ratio < 0.8
    assert outcome.totals.verdicts.counts["slow", "stall"] >= 10
    assert "stall p50 / p95" in text


async def test_flaky_upstream() -> None:
    """Each failure is counted under its cause: as often as the server failed in this way."""
    outcome, text = await tell("flaky-upstream", 0.2, duration_s=3.0)

    totals = outcome.totals
    assert totals.faults.keys() == {fault.value for fault in Fault}
    assert totals.errors == totals.faults
    assert totals.verdicts.failed == totals.recount.failed == sum(totals.faults.values())
    refused = totals.faults["http_5xx"] + totals.faults["http_429"]
    assert totals.http_200 == len(totals.answers) - refused
    assert "failed on purpose" in text


async def test_sweep(tmp_path: Path) -> None:
    """The levels show where the batch is full, and so does the proxy's own metric."""
    # Steps of 25 ms and answers of 20 tokens: a queue costs a newcomer half a second at least, and
    # a free slot two steps at most. The limit lies between.
    scenario = replace(
        RAMP,
        profile=Profile(max_batch=8, step_base_ns=15 * MS, step_per_sequence_ns=MS),
        workload=Workload("m", prompt_tokens=(10, 20), output_tokens=(20, 20)),
        limits=Limits(250 * MS, 200 * MS),
        level_s=1.2,
    )
    options = DemoOptions(scenario, sweep=True, out=tmp_path)
    for _ in range(ATTEMPTS):
        out = io.StringIO()
        sweep = await climb(options, out, asyncio.Event())
        if sweep.knee == sweep.proxys_knee == 8:
            break

    assert [level.users for level in sweep.levels] == [1, 2, 4, 8, 16]
    assert sweep.knee == sweep.proxys_knee == 8
    assert "They agree." in out.getvalue()
    broken = [band for band in sweep.bands if band.in_flight > 8]
    assert [band.in_flight for band in broken] == [16]
    assert broken[0].ratio < 0.5
    assert is_plain(out.getvalue())
    kept = read(tmp_path / "ramp-sweep.json", "Sweep")
    assert (kept["kind"], kept["knee"], kept["proxys_knee"]) == ("sweep", 8, 8)
    assert [level["users"] for level in kept["levels"]] == [1, 2, 4, 8, 16]
    assert_is_picture(tmp_path / "ramp-sweep.png")


async def test_a_sweep_that_is_stopped_says_what_it_has(tmp_path: Path) -> None:
    """A level that was cut short does not count."""
    stop, out = asyncio.Event(), io.StringIO()
    stop.set()
    sweep = await climb(DemoOptions(sweep=True, out=tmp_path), out, stop)
    assert sweep.levels == []
    assert "Nothing was measured." in out.getvalue()
    assert read(tmp_path / "ramp-sweep.json", "Sweep")["levels"] == []
    assert not (tmp_path / "ramp-sweep.png").exists()


def is_plain(text: str) -> bool:
    """Return whether there is no control character but the ends of lines."""
    return all(character.isprintable() or character == "\n" for character in text)


def read(path: Path, name: str) -> dict[str, Any]:
    """Return a document that keeps to the published schema."""
    document: dict[str, Any] = json.loads(path.read_text("utf-8"))
    schema = {**SCHEMA, "$ref": f"#/$defs/{name}"}
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(schema).validate(document)
    return document


def assert_is_picture(path: Path) -> None:
    content = path.read_bytes()
    assert content.startswith(PNG)
    assert content[12:16] == b"IHDR"
    width, height = (int.from_bytes(content[at : at + 4]) for at in (16, 20))
    assert (width, height) == SIZE
    assert len(content) > 5_000
