"""The window: what was counted within the last quarter of an hour, within half a minute."""

from __future__ import annotations

import pytest

from goodput_proxy.live.window import STEP_S, WINDOW_S, Window

START = 100_007


def counted(window: Window, second: int, name: str = "a") -> None:
    window.advance(second)
    window.row(name)[0] += 1


def test_at_first_it_begins_with_the_process() -> None:
    """What is younger than the window is all there."""
    window = Window(2, START)
    for second in range(START, START + WINDOW_S, 10):
        counted(window, second)

    assert window.look() == (START, {"a": [WINDOW_S // 10, 0]})


@pytest.mark.parametrize("age_s", [WINDOW_S + STEP_S, 2 * WINDOW_S, 100 * WINDOW_S])
def test_what_is_older_is_left_out(age_s: int) -> None:
    """An old count shows in the total alone; a row that has only old ones is not shown."""
    window = Window(2, START)
    counted(window, START)
    window.advance(START + age_s)

    assert window.look().grown == {}
    assert window.totals() == {"a": [1, 0]}


def test_a_steady_rate_is_seen_as_such() -> None:
    """One request a second is as many as the window says that it is long, whenever one looks."""
    window = Window(1, START)
    for second in range(START, START + 3 * WINDOW_S):
        counted(window, second)
        since, grown = window.look()
        assert grown["a"] == [second - since + 1]
        length = second - since
        assert length == second - START or WINDOW_S - STEP_S <= length <= WINDOW_S


def test_rows_that_rest_share_their_copies() -> None:
    """A copy is kept only of what has changed: a thousand idle names cost little."""
    window = Window(1, START)
    counted(window, START, "idle")
    for second in range(START, START + WINDOW_S, STEP_S):
        counted(window, second, "busy")

    copies = [mark.rows for mark in window._marks if mark.rows]
    assert len({id(rows["idle"]) for rows in copies}) == 1
    assert len({id(rows["busy"]) for rows in copies}) == len(copies) > 10
