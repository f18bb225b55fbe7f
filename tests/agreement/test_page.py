"""The page holds what the comparison compares."""

from __future__ import annotations

import re

import pytest

from tests.agreement.page import HEADINGS, PAGE, replace
from tests.agreement.scenarios import SCENARIOS

TEXT = PAGE.read_text()


def test_every_scenario_stands_on_the_page_as_it_is_listed() -> None:
    """The table was written from the present list: numbers, scripts, verdicts and reasons."""
    rows = [line.strip("| ").split(" | ") for line in TEXT.splitlines() if line.startswith("| ")]
    found = [
        (int(row[0]), row[1], row[5].partition(";")[0].replace("`", ""), row[6])
        for row in rows
        if len(row) == len(HEADINGS) and row[0].isdigit()
    ]

    assert found == [(s.number, s.name, s.verdict, s.why) for s in SCENARIOS]


def test_the_page_names_command_and_machine() -> None:
    """Numbers without what they were measured on mean nothing."""
    assert "* command: `make verify-aiperf`" in TEXT
    assert re.search(r"^\* machine: .+ cores", TEXT, re.MULTILINE)
    assert "* AIPerf: `aiperf profile " in TEXT


def test_a_block_is_replaced_and_the_prose_kept() -> None:
    """Writing twice is writing once; a page without the block is an error."""
    once = replace(TEXT, "load", "| new |")

    assert "| new |" in once
    assert once.startswith(TEXT.partition("<!-- load")[0])
    assert once.endswith(TEXT.partition("<!-- end of load -->")[2])
    assert replace(once, "load", "| new |") == once
    with pytest.raises(ValueError, match="no block 'other'"):
        replace(TEXT, "other", "")
