"""`/generate`: one path, three meanings, and a counter that settles which."""

from __future__ import annotations

import json
from typing import Any

import pytest

from goodput_proxy.faults import MeterFault
from goodput_proxy.stream.events import (
    CounterEvent,
    EndsAtCloseEvent,
    Event,
    FinishEvent,
    TokenEvent,
    TokenSource,
    UnclassifiedEvent,
)
from goodput_proxy.stream.generate import GenerateDialect
from tests.stream.records import LONG, oversize
from tests.stream.records import read as read_records

UNREAD = UnclassifiedEvent(MeterFault.OVERSIZE_RECORD)
STOP = {"type": "stop", "matched": 2}
LENGTH = {"type": "length", "length": 3}


def read(*payloads: Any) -> list[Event]:
    """Return what a fresh dialect reads."""
    return read_records(GenerateDialect(), *payloads)


def snapshot(text: str, tokens: int, finish: Any = None, **more: Any) -> dict[str, Any]:
    """Return a record of SGLang."""
    meta = {"id": "1", "finish_reason": finish, "prompt_tokens": 5, "completion_tokens": tokens}
    return {"text": text, **more, "meta_info": meta}


def tokens(*payloads: Any) -> list[TokenEvent]:
    """Return the tokens that a fresh dialect sees."""
    return [event for event in read(*payloads) if isinstance(event, TokenEvent)]


def counter(total: int, choice: int = 0, inputs: int | None = 5) -> CounterEvent:
    """Return what the statistics say."""
    return CounterEvent(choice, total, inputs, TokenSource.META_INFO)


@pytest.mark.parametrize(
    ("last", "hidden"),
    [
        (snapshot("ab", 3, STOP), True),
        (snapshot("ab", 3, STOP, output_ids=[1, 2, 3]), True),
        (snapshot("abc", 3, LENGTH), False),
        (snapshot("abc", 3, LENGTH, output_ids=[1, 2, 3]), False),
    ],
)
def test_cumulative(last: Any, hidden: bool) -> None:  # noqa: FBT001
    """In snapshots a token is a counter that moved; an end token adds no text."""
    seen = tokens(snapshot("a", 1), snapshot("ab", 2), snapshot("ab", 2), last)

    assert seen == [TokenEvent(), TokenEvent(), TokenEvent(hidden=hidden)]


@pytest.mark.parametrize(
    ("last", "hidden"),
    [
        (snapshot("", 3, STOP, output_ids=[9]), True),
        (snapshot("", 3, STOP), True),
        (snapshot("c", 3, LENGTH, output_ids=[9]), False),
    ],
)
def test_incremental(last: Any, hidden: bool) -> None:  # noqa: FBT001
    """In deltas too, and the end token has none."""
    assert tokens(snapshot("long", 1), snapshot("b", 2), last) == [
        *(TokenEvent(), TokenEvent(), TokenEvent(hidden=hidden)),
    ]


def test_the_last_snapshot_may_repeat_the_one_before() -> None:
    """A counter that stands still is no token, though all text comes again."""
    assert read(snapshot("ab", 2), snapshot("ab", 2, LENGTH)) == [
        *(counter(2), TokenEvent(), counter(2), FinishEvent(0, "length")),
    ]


def test_an_abort_ends_a_choice() -> None:
    """SGLang gives up in a record like any other."""
    abort = {"type": "abort", "message": "m", "status_code": 500}

    assert read(snapshot("", 0, abort)) == [counter(0), FinishEvent(0, "abort")]


def test_choices_are_told_by_index() -> None:
    """Batches and n > 1 interleave, each with its own counter."""
    assert tokens(
        snapshot("a", 1, index=0), snapshot("b", 1, index=1), snapshot("bb", 2, index=1)
    ) == [
        *(TokenEvent(0), TokenEvent(1), TokenEvent(1)),
    ]


def test_without_statistics_the_record_speaks() -> None:
    """Ids and text are evidence where no counter is."""
    assert read({"text": "a", "output_ids": [1, 2]}, {"text": ""}, {"output_ids": [3]}) == [
        *(TokenEvent(ids=2), TokenEvent(ids=1)),
    ]


@pytest.mark.parametrize("total", [-1, "7", True, None, 10**30])
def test_a_counter_that_is_none(total: Any) -> None:
    """What cannot be a count of tokens does not hide the text."""
    assert read({"text": "a", "meta_info": {"completion_tokens": total}}) == [TokenEvent()]


def test_old_vllm_sends_prompt_and_output_of_all_choices() -> None:
    """A choice whose text has grown has a token; the body's end is the only end."""
    assert read({"text": ["p a", "p b"]}, {"text": ["p ab", "p b"]}) == [
        *(EndsAtCloseEvent(), TokenEvent(0), TokenEvent(1), EndsAtCloseEvent(), TokenEvent(0)),
    ]
    assert len(read({"text": ["x"] * 5000})) < 100


def test_large_snapshots_are_read_from_their_end() -> None:
    """Above 4 kB only the statistics are read; the last record is read whole."""
    many = list(range(1000))
    seen = read(
        snapshot(LONG, 1000, output_ids=many),
        snapshot(LONG + "a", 1001, output_ids=[*many, 1], index=0),
        snapshot(LONG + "a", 1001, output_ids=[*many, 1]),
        snapshot(LONG + "ab", 1002, LENGTH, output_ids=[*many, 1, 2]),
    )

    assert seen == [
        *(counter(1000, inputs=None), TokenEvent()),
        *(counter(1001, inputs=None), TokenEvent()),
        counter(1001, inputs=None),
        *(counter(1002), TokenEvent(), FinishEvent(0, "length")),
    ]


def test_statistics_in_the_text_are_text() -> None:
    """A model that writes JSON cannot move the counter."""
    fake = '"meta_info": {"finish_reason": null, "completion_tokens": 9}}'

    assert read({"text": LONG + fake, "output_ids": [1]}) == [TokenEvent(ids=1)]
    assert read(snapshot(LONG + fake, 2))[0] == counter(2, inputs=None)


@pytest.mark.parametrize(("finish", "hidden"), [(STOP, True), (LENGTH, False)])
def test_the_end_after_large_snapshots(finish: Any, hidden: bool) -> None:  # noqa: FBT001
    """The text before was not read: a stop ended invisibly, a limit did not."""
    assert tokens(snapshot(LONG, 1), snapshot(LONG + "x", 2, finish))[1:] == [
        TokenEvent(hidden=hidden)
    ]


def test_snapshots_above_the_cap() -> None:
    """The tail of an oversize record has the counter, the choice and the finish reason."""
    assert read(
        oversize(snapshot(LONG, 7, index=3)), oversize(snapshot(LONG, 8, LENGTH, index=3))
    ) == [
        *(UNREAD, counter(7, 3, None), TokenEvent(3)),
        *(UNREAD, counter(8, 3, None), TokenEvent(3), FinishEvent(3, "length")),
    ]
    assert read(oversize({"text": [LONG]})) == [UNREAD, EndsAtCloseEvent()]
    assert read(oversize({"text": LONG})) == [UNREAD]


def test_spaced_and_compact_statistics_are_the_same() -> None:
    """Servers differ in their blanks."""
    record = snapshot(LONG, 7)
    compact = json.dumps(record, separators=(",", ":")).encode()

    assert read(record) == read(compact)
