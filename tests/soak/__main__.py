"""`python -m tests.soak --for 600 --seed 1`: print what was counted; exit 1 if anything is odd."""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from pathlib import Path

import uvloop

from tests.soak.report import soak

parser = argparse.ArgumentParser(prog="python -m tests.soak")
parser.add_argument("--for", dest="for_s", type=float, default=600, help="seconds (600)")
parser.add_argument("--seed", type=int, default=random.randrange(10**6))
options = parser.parse_args()
sys.stdout.write(f"for {options.for_s:.0f} s, seed {options.seed}\n")
sys.stdout.flush()
with tempfile.TemporaryDirectory() as name:
    report = uvloop.run(soak(options.for_s, options.seed, Path(name)))
sys.stdout.write(f"{report}\n")
sys.exit(1 if report.problems else 0)
