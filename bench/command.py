"""What the commands of the bench have in common: their options, their progress, how they end."""

from __future__ import annotations

import argparse
import signal
import sys
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import FrameType

T = TypeVar("T")


def named(text: str, known: Mapping[str, T]) -> list[T]:
    """Return those of the known that an option names, separated by commas.

    Raises:
        argparse.ArgumentTypeError: when one is unknown.
    """
    try:
        return [known[name.strip()] for name in text.split(",")]
    except KeyError as error:
        raise argparse.ArgumentTypeError(f"unknown: {error}") from None


def say(line: str) -> None:
    """Tell how far it is, beside the result."""
    print(line, file=sys.stderr, flush=True)


def end_in_order() -> None:
    """Let SIGTERM raise, so that every proxy is ended by its `finally`."""

    def end(_signal: int, _frame: FrameType | None) -> None:
        raise SystemExit(143)

    signal.signal(signal.SIGTERM, end)
