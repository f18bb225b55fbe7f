"""A file gets the words of a terminal, without its controls."""

from __future__ import annotations

import io
import re

import pytest

from goodput_proxy.demo.plot import ASCII, BLOCKS
from goodput_proxy.demo.terminal import GREEN, PLAIN_PROGRESS_S, Terminal


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("out", "no_color", "coloured"),
    [(Screen(), False, True), (Screen(), True, False), (io.StringIO(), False, False)],
)
def test_colour_is_for_terminals(
    out: io.StringIO, monkeypatch: pytest.MonkeyPatch, *, no_color: bool, coloured: bool
) -> None:
    """No escape sequence in a file or against NO_COLOR; the words are the same."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    if no_color:
        monkeypatch.setenv("NO_COLOR", "1")
    terminal = Terminal(out)
    terminal.write(terminal.style("all is well", GREEN), terminal.style("", GREEN))
    text = out.getvalue()
    assert ("\033[" in text) is coloured
    assert re.sub(r"\033\[\d+m", "", text) == "all is well\n\n"


def test_progress_is_overwritten_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """It stands in one line, and is gone when the next row comes."""
    monkeypatch.setenv("NO_COLOR", "1")
    out = Screen()
    terminal = Terminal(out)
    terminal.progress("1 of 2")
    terminal.progress("2 of 2")
    terminal.write("done")
    terminal.write("more")
    assert out.getvalue() == "\r\033[K  1 of 2\r\033[K  2 of 2\r\033[Kdone\nmore\n"


def test_progress_in_a_file_is_rare_and_plain() -> None:
    """A line of its own, only after a silence; what is written in between is news enough."""
    now_s = 0.0
    out = io.StringIO()
    terminal = Terminal(out, clock=lambda: now_s)
    for moment_s in (1.0, PLAIN_PROGRESS_S, PLAIN_PROGRESS_S + 1):
        now_s = moment_s
        terminal.progress(f"at {moment_s:.0f}")
    terminal.write("row")
    now_s += PLAIN_PROGRESS_S - 1
    terminal.progress("too soon")
    now_s += 1
    terminal.progress("again")
    assert out.getvalue() == "  at 10\nrow\n  again\n"


def test_characters_are_those_that_can_be_written() -> None:
    """Blocks where they can be encoded, ASCII elsewhere."""
    raw = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    assert (Terminal(raw).glyphs, Terminal(raw).within) == (ASCII, "<=")
    assert (Terminal(io.StringIO()).glyphs, Terminal(io.StringIO()).within) == (BLOCKS, "≤")
