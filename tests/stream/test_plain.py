"""Records that are the text itself."""

from __future__ import annotations

import pytest

from goodput_proxy.faults import MeterFault
from goodput_proxy.stream.events import (
    EndsAtCloseEvent,
    ErrorEvent,
    TerminatorEvent,
    TokenEvent,
    UnclassifiedEvent,
)
from goodput_proxy.stream.plain import PlainDialect
from tests.stream.records import LONG, oversize, read


@pytest.mark.parametrize("text", [b" the", b'"content":"x"', b"\xff\x00", b'{"a":1}'])
def test_text_is_a_token(text: bytes) -> None:
    """Whatever it looks like."""
    assert read(PlainDialect(), text) == [EndsAtCloseEvent(), TokenEvent()]


def test_what_is_no_text() -> None:
    """Blanks, errors and the terminator are none."""
    assert read(PlainDialect(), b" ", b'{"error": "a "b" c"}', b"[DONE]") == [
        *(EndsAtCloseEvent(), ErrorEvent(), TerminatorEvent()),
    ]


def test_text_above_the_cap() -> None:
    """It is text all the same."""
    assert read(PlainDialect(), oversize(LONG.encode())) == [
        UnclassifiedEvent(MeterFault.OVERSIZE_RECORD),
        *(EndsAtCloseEvent(), TokenEvent()),
    ]
