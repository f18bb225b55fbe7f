"""Progress is for people who wait at a terminal."""

from __future__ import annotations

import io

from goodput_proxy.gate.progress import progress
from tests.waiting import eventually


class Terminal(io.StringIO):
    """Somewhere that people look at."""

    def isatty(self) -> bool:
        """Say so."""
        return True


async def test_a_terminal_sees_the_seconds_pass_and_keeps_nothing() -> None:
    """The line appears after two seconds, counts on in place, and is wiped in the end."""
    terminal = Terminal()
    async with progress(terminal, lambda second: f"{second} s", tick_s=0.01):
        await eventually(lambda: "4 s" in terminal.getvalue(), "a line")
        shown = terminal.getvalue()

    assert shown.startswith("\r\x1b[K2 s\r\x1b[K3 s\r\x1b[K4 s")
    assert terminal.getvalue().endswith(" s\r\x1b[K")


async def test_what_is_over_soon_shows_nothing() -> None:
    """Within two seconds nothing is written."""
    terminal = Terminal()
    async with progress(terminal, str):
        pass

    assert terminal.getvalue() == ""


async def test_a_file_gets_no_progress() -> None:
    """A log of a pipeline is not filled with lines that were meant to vanish."""
    ticks: list[int] = []
    out, reference = io.StringIO(), Terminal()

    def note(second: int) -> str:
        ticks.append(second)
        return ""

    async with progress(out, note, tick_s=0.01), progress(reference, str, tick_s=0.01):
        await eventually(lambda: "3" in reference.getvalue(), "a line")

    assert (out.getvalue(), ticks) == ("", [])
