"""`python -m bench.full`: all parts of the bench, their records, the page and its plots.

Each part has a record of its own (`results/PART.json`), and the page is made from all of them: a
run of one part leaves the others as they were. A part that fails is named and left as it was, too.

Exit status: 0 all parts were measured, 1 one was not, 2 none. The budget is on the page; it is not
judged here, since a machine that others use would judge it at random.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from bench import machine
from bench.command import end_in_order, named, say
from bench.page import Record, render
from bench.parts import PARTS, Context, Part
from bench.peers import PEERS
from bench.peers.peer import environment

if TYPE_CHECKING:
    from collections.abc import Sequence

_RESULTS = Path(__file__).parent / "results"
_ROUNDS = 3
_PLOT_TIMEOUT_S = 120.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the parts and return the exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = _parse(given)
    end_in_order()
    _raise_descriptors()
    folder: Path = options.results
    folder.mkdir(parents=True, exist_ok=True)
    failed = 0
    parts = [] if options.page else options.only
    for part in parts:
        begin_s = time.monotonic()
        say(f"== {part.name}: {part.title}")
        if not _run(part, options, " ".join(["make bench-full", *_as_make(given)]), folder):
            failed += 1
        say(f"== {part.name}: {time.monotonic() - begin_s:.0f} s")
    records = _read(folder)
    if not records:
        return 2
    page = render(PARTS, records, _draw(folder))
    (folder / "latest.md").write_text(page, "utf-8")
    print(page, end="")
    return 1 if failed else 0


def _run(part: Part, options: argparse.Namespace, command: str, folder: Path) -> bool:
    """Measure one part and keep its record; return whether that worked."""
    missing = {peer.name: why for peer in options.peers if (why := peer.missing())}
    peers = tuple(peer for peer in options.peers if peer.name not in missing)
    deadline_s = time.monotonic() + part.minutes * 60
    context = Context(peers, options.rounds, options.quick, say, dict(missing), deadline_s)
    try:
        data = part.measure(context)
        part.section(data)  # a record that cannot be read must not replace one that can
        part.checks(data)
    except Exception:  # noqa: BLE001 -- one part that fails must not lose the rest
        say(f"{part.name} has failed:\n{traceback.format_exc()}")
        return False
    record: Record = {
        "facts": machine.describe(peers),
        "command": command,
        "lost": context.lost,
        "data": data,
    }
    text = json.dumps(record, indent=1) + "\n"
    (folder / f"{part.name}.json").write_text(text, "utf-8")
    return True


def _read(folder: Path) -> dict[str, Record]:
    records = {}
    for part in PARTS:
        path = folder / f"{part.name}.json"
        if path.exists():
            records[part.name] = json.loads(path.read_text("utf-8"))
    return records


def _draw(folder: Path) -> set[str]:
    """Draw the plots where their library is; return the names of all that are there."""
    python = environment("plots") / "bin" / "python"
    if python.exists():
        command = [str(python), str(Path(__file__).with_name("plots.py")), str(folder)]
        try:
            done = subprocess.run(command, timeout=_PLOT_TIMEOUT_S, check=False)
            if done.returncode:
                say("the plots could not be drawn")
        except subprocess.TimeoutExpired:
            say("the plots took too long")
    else:
        say("no plots: their library is not installed, `make bench-full` does that")
    return {path.stem for path in folder.glob("*.png")}


def _raise_descriptors() -> None:
    """Let proxies inherit all the descriptors there may be."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.full", description=__doc__)
    parts = {part.name: part for part in PARTS}
    peers = {peer.name: peer for peer in PEERS}
    parser.add_argument(
        "--only",
        type=lambda text: named(text, parts),
        default=list(PARTS),
        metavar="PART,PART",
        help=f"these of: {', '.join(parts)}",
    )
    parser.add_argument(
        "--peers",
        type=lambda text: named(text, peers),
        default=list(PEERS),
        metavar="NAME,NAME",
        help=f"these of: {', '.join(peers)}",
    )
    parser.add_argument(
        "--rounds", type=int, choices=range(1, 10), default=_ROUNDS, help="interleaved repeats (3)"
    )
    parser.add_argument("--quick", action="store_true", help="try everything in a minute or two")
    parser.add_argument("--page", action="store_true", help="make page and plots anew, no more")
    parser.add_argument(
        "--results", type=Path, default=_RESULTS, help="the folder of the records and the page"
    )
    return parser.parse_args(arguments)


def _as_make(arguments: Sequence[str]) -> list[str]:
    return [f"ARGS='{' '.join(arguments)}'"] if arguments else []


if __name__ == "__main__":
    sys.exit(main())
