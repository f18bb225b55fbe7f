"""Let the tools of the package index send through the proxy, and compare everybody's numbers.

Owns: the order of things, and the report of `make verify-tools`. Each tool has an environment of
its own, which the first run makes. Run from the project's root as `python -m
tests.loadtools.verify_tools`; the exit code is 0 when every line says `ok`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import shlex
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.agreement import clients
from tests.agreement.scenarios import OK
from tests.loadtools.play import play
from tests.loadtools.recipes import ROOT, find_command, point_at
from tests.loadtools.site import run_tool, simulated_server
from tests.loadtools.tools import count_sent
from tests.real.ground import Report
from tests.real.processes import SetupError, ensure_environment

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.loadtools.play import Played

HERE = Path(__file__).resolve().parent
# AIPerf takes a dozen seconds and GuideLLM twice as long, most of which is their start.
LIMIT_S = 300.0
# vLLM's client sends one request after the other; so many of them run at the same time.
VLLM_CLIENTS, VLLM_REQUESTS_EACH = 8, 2


async def send_by_recipe(program: Path, port: int, folder: Path) -> int:
    """Run a tool as the page runs it; return how many requests it says to have sent."""
    folder.mkdir()  # noqa: ASYNC240 -- before anything runs
    clients.write_tokenizer(folder / "tokenizer")
    environment = {"TOKENIZER": str(folder / "tokenizer"), "HF_HUB_DISABLE_TELEMETRY": "1"}
    command = point_at(find_command(program.name), port)
    there = shlex.quote(str(program)) + command.removeprefix(program.name)
    # AIPerf does not take a path for a tokenizer's under this one.
    said = await run_tool(f"unset HF_HUB_OFFLINE; {there}", folder, LIMIT_S, environment)
    return count_sent(program.name, said)


async def send_by_vllm(python: Path, port: int) -> int:
    """Let vLLM's client send; return how many requests it calls a success."""
    url = f"http://127.0.0.1:{port}"
    sending = (
        asyncio.to_thread(
            clients.run_vllm,
            python,
            url,
            [f"tools {client} {number}" for number in range(VLLM_REQUESTS_EACH)],
        )
        for client in range(VLLM_CLIENTS)
    )
    seen = [each for found in await asyncio.gather(*sending) for each in found.values()]
    return sum(each.outcome == OK for each in seen)


def report_on(played: Played, report: Report) -> None:
    """Print what agrees and what does not."""
    seen = played.seen
    verdicts = ", ".join(
        f"{count} {verdict} {cause}".strip() for (verdict, cause), count in seen.counts.items()
    )
    report.say("--", "the proxy", verdicts)
    for check in played.checks:
        said = str(check.found) if check.holds else f"{check.found}, not {check.expected}"
        report.check(check.holds, check.name, said)
    looks = f"{len(seen.scrapes)} scrapes, {len(seen.messages)} messages of the stream"
    report.say("--", "compared meanwhile", looks)


async def verify(aiperf: Path, guidellm: Path, directory: Path, report: Report) -> None:
    """Let each of them send."""
    tools: dict[str, Callable[[int], Awaitable[int]]] = {
        "aiperf": lambda port: send_by_recipe(
            aiperf.with_name("aiperf"), port, directory / "aiperf"
        ),
        "guidellm": lambda port: send_by_recipe(
            guidellm.with_name("guidellm"), port, directory / "guidellm"
        ),
        "vLLM's client": lambda port: send_by_vllm(aiperf, port),
    }
    async with simulated_server() as upstream:
        for name, send in tools.items():
            report.begin(name)
            try:
                report_on(await play(upstream, send), report)
            except (SetupError, RuntimeError, LookupError) as error:
                report.check(False, "run", str(error))  # noqa: FBT003


def main() -> int:
    """Prepare, compare, report; give the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.loadtools.verify_tools",
        description=(__doc__ or "").splitlines()[0],
    )
    parser.add_argument("--aiperf", type=Path, default=ROOT / ".venv-aiperf")
    parser.add_argument("--guidellm", type=Path, default=ROOT / ".venv-guidellm")
    args = parser.parse_args()
    report = Report()
    with contextlib.ExitStack() as ending:
        name = ending.enter_context(tempfile.TemporaryDirectory(prefix="verify-tools-"))
        report.say("--", "environments", "the first run installs some 7 GB")
        aiperf = clients.prepare(args.aiperf.absolute())
        guidellm = ensure_environment(args.guidellm.absolute(), HERE / "guidellm.txt")
        asyncio.run(verify(aiperf, guidellm, Path(name), report))
    report.say("--", "done", f"{report.failed or 'nothing'} failed")
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
