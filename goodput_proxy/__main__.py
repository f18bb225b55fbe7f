"""`python -m goodput_proxy` and the console script."""

from __future__ import annotations

import sys

from .cli import main as run_command


def main() -> None:
    """Run the command line and exit with its code."""
    sys.exit(run_command())


if __name__ == "__main__":
    main()
