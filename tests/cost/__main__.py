"""`python -m tests.cost`: count what a token and a small request cost; `--write` keeps it.

What is kept is what tests/cost/test_cost.py holds the code to. Counts depend on the build of
Python and of the proxy, so each has an entry of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from dataclasses import asdict

from bench import compiled
from tests.cost.counting import COMPILED, PURE, count_calls, count_instructions, key_of
from tests.cost.reference import REFERENCE, read_reference


def main() -> None:
    """Count, print, and keep when asked to."""
    parser = argparse.ArgumentParser(prog="python -m tests.cost", description=__doc__)
    parser.add_argument("--write", action="store_true", help="renew tests/cost/reference.json")
    options = parser.parse_args()
    known = read_reference()
    for build in (PURE, COMPILED):
        if build == COMPILED and (why := compiled.missing()):
            print(f"{build}: not counted, {why}")  # noqa: T201 -- what was asked for
            continue
        counted = {
            name: round(value)
            for name, value in asdict(asyncio.run(count_instructions(build))).items()
        }
        print(f"{key_of(build)}: {counted}, was {known.get(key_of(build))}")  # noqa: T201
        known[key_of(build)] = counted
    calls = asyncio.run(count_calls())
    print("calls per 100 tokens:", dict(calls.most_common()))  # noqa: T201
    if options.write:
        REFERENCE.write_text(json.dumps(known, indent=2, sort_keys=True) + "\n", "utf-8")


if __name__ == "__main__":
    main()
