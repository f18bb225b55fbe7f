"""llama.cpp's own API: text or a counter that moved, and progress that looks like a token."""

from __future__ import annotations

from typing import Any

import pytest

from goodput_proxy.faults import MeterFault
from goodput_proxy.stream.events import (
    CounterEvent,
    ErrorEvent,
    Event,
    FinishEvent,
    TokenEvent,
    TokenSource,
    UnclassifiedEvent,
)
from goodput_proxy.stream.llamacpp import LlamaCppDialect
from tests.stream.records import LONG, oversize
from tests.stream.records import read as read_records

UNREAD = UnclassifiedEvent(MeterFault.OVERSIZE_RECORD)


def read(*payloads: Any) -> list[Event]:
    """Return what a fresh dialect reads."""
    return read_records(LlamaCppDialect(), *payloads)


def counter(total: int, inputs: int | None = None, choice: int = 0) -> CounterEvent:
    """Return what the counter says."""
    return CounterEvent(choice, total, inputs, TokenSource.TOKENS_PREDICTED)


def test_text_is_a_token() -> None:
    """With its counter or, where `response_fields` strips that, without."""
    assert read({"content": "a", "tokens": [7], "tokens_predicted": 1, "tokens_evaluated": 5}) == [
        *(counter(1, 5), TokenEvent()),
    ]
    assert read({"content": "a"}) == [TokenEvent()]


def test_progress_is_no_token() -> None:
    """A progress record has a placeholder id and moves no counter."""
    progress = {
        "content": "",
        "tokens": [0],
        "tokens_predicted": 0,
        "stop": False,
        "prompt_progress": {"total": 9, "cache": 0, "processed": 4},
    }

    assert read(progress, progress) == [counter(0), counter(0)]


def test_a_token_without_text_moves_the_counter() -> None:
    """A token in the middle counts like any other; the one that ends is hidden."""
    assert read(
        {"content": "", "tokens_predicted": 1},
        {"content": "", "tokens_predicted": 2, "stop": True, "stop_type": "eos"},
    ) == [
        *(counter(1), TokenEvent()),
        *(counter(2), TokenEvent(hidden=True), FinishEvent(0, "eos")),
    ]


def test_the_last_record_may_add_nothing() -> None:
    """At a limit the last token has been sent before."""
    assert read(
        {"content": "a", "tokens_predicted": 1},
        {"content": "", "tokens_predicted": 1, "stop": True},
    )[2:] == [counter(1), FinishEvent(0, "stop")]


def test_choices_have_counters_of_their_own() -> None:
    """`n_cmpl` interleaves choices by index."""
    assert [
        e.choice
        for e in read(*({"index": i, "content": "", "tokens_predicted": 1} for i in (0, 1, 1)))
        if isinstance(e, TokenEvent)
    ] == [0, 1]


def test_errors() -> None:
    """An error record is one, whatever follows."""
    error = {"error": {"code": 500, "message": "m", "type": "server_error"}}

    assert read(error) == [ErrorEvent("server_error", 500)]


@pytest.mark.parametrize("total", [-1, "7", 1.5, None])
def test_a_counter_that_is_none(total: Any) -> None:
    """What cannot be a count of tokens says nothing."""
    assert read({"content": "a", "tokens_predicted": total}) == [TokenEvent()]


def test_the_last_record_repeats_the_prompt() -> None:
    """Above the cap its ends still have the counter and the reason."""
    last = {
        "index": 1,
        "content": "",
        "tokens": [],
        "stop": True,
        "tokens_predicted": 7,
        "tokens_evaluated": 900,
        "prompt": LONG,
        "stop_type": "limit",
    }

    assert read(oversize(last)) == [UNREAD, counter(7, 900, 1), FinishEvent(1, "limit")]


def test_a_large_text() -> None:
    """Text above the cap is a token, and ends nothing."""
    assert read(oversize({"content": LONG, "stop": False})) == [UNREAD, TokenEvent()]
    assert read(oversize({"content": LONG, "stop": True})) == [
        *(UNREAD, TokenEvent(), FinishEvent(0, "stop")),
    ]
