"""Where the demonstration writes: a terminal, or a file.

Owns colours, the characters to draw with, and the line that says how far things are. The rule: a
file gets the same words as a terminal, and no control character.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, TextIO

from .plot import ASCII, BLOCKS

if TYPE_CHECKING:
    from collections.abc import Callable

GREEN, YELLOW, BOLD, DIM = "32", "33", "1", "2"

# In a file progress is a line of its own, and only where nothing else has come for so long.
PLAIN_PROGRESS_S = 10.0

_CLEAR = "\r\033[K"


class Terminal:
    """Writes lines, in colour where that is seen.

    Args:
        out: where to.
        clock: seconds, of any origin.
    """

    def __init__(self, out: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._out = out
        self._clock = clock
        self._is_terminal = out.isatty()
        self._coloured = self._is_terminal and "NO_COLOR" not in os.environ
        self._unfinished = False
        self._written_s = clock()
        self.glyphs = BLOCKS if _can_encode(out, "█░│─┴≤▲") else ASCII
        self.within = "≤" if self.glyphs is BLOCKS else "<="

    def write(self, *lines: str) -> None:
        """Print whole lines."""
        self.forget_progress()
        for line in lines:
            print(line, file=self._out, flush=True)
        self._written_s = self._clock()

    def progress(self, text: str) -> None:
        """Say how far things are; on a terminal the next output takes the place of it."""
        if self._is_terminal:
            print(_CLEAR + self.style(f"  {text}", DIM), end="", file=self._out, flush=True)
            self._unfinished = True
        elif self._clock() - self._written_s >= PLAIN_PROGRESS_S:
            self.write(f"  {text}")

    def forget_progress(self) -> None:
        """Take away what was said last of how far things are."""
        if self._unfinished:
            print(_CLEAR, end="", file=self._out, flush=True)
            self._unfinished = False

    def style(self, text: str, code: str) -> str:
        """Return the text in a colour, where colours are seen."""
        return f"\033[{code}m{text}\033[0m" if self._coloured and code and text else text


def _can_encode(out: TextIO, text: str) -> bool:
    try:
        text.encode(out.encoding or "utf-8")
    except UnicodeEncodeError:
        return False
    return True
