"""What can be wrong with a record, and what servers say of a failure."""

from __future__ import annotations

from typing import Any

import pytest

from goodput_proxy.stream.decoding import (
    as_choice,
    as_count,
    failure,
    finish,
    is_error,
)
from goodput_proxy.stream.events import ErrorEvent, FinishEvent


@pytest.mark.parametrize(
    ("data", "event", "error"),
    [
        (b'{"error":{}}', b"", True),
        (b' {\n "error" : "it said "no" to us"}', b"", True),
        (b"anything", b"error", True),
        (b'{"error":null,"choices":[]}', b"", False),
        (b'{"error": null}', b"", False),
        (b'{"error":nullable', b"", True),
        (b'{"errors":1}', b"", False),
        (b'{"a":{"error":1}}', b"message", False),
    ],
)
def test_error_records_need_not_be_json(data: bytes, event: bytes, error: bool) -> None:  # noqa: FBT001
    """A record is an error by its name or its first key; a null there is none."""
    assert is_error(data, event) is error


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (({"type": "T", "code": 5},), ErrorEvent("T", 5)),
        (({"message": "m", "http_status_code": 422},), ErrorEvent(None, 422)),
        (({}, "K", "c"), ErrorEvent("K", "c")),
        (("text", "K"), ErrorEvent("K")),
        ((None,), ErrorEvent()),
        (({"type": ["T"], "code": 5.5}, 3, None), ErrorEvent()),
    ],
)
def test_failures(arguments: tuple[Any, ...], said: ErrorEvent) -> None:
    """The error's own type and code win over those beside it."""
    assert failure(*arguments) == said


@pytest.mark.parametrize(
    ("value", "count"), [(0, 0), (7, 7), (-1, None), (True, None), (1.0, None), (10**15, None)]
)
def test_counts(value: Any, count: int | None) -> None:
    """A number that cannot be one of tokens is none."""
    assert as_count(value) == count


def test_an_index_is_a_short_number() -> None:
    """It names a choice; without one there is only one, and one without end is cut."""
    assert [as_choice(index) for index in (None, 0, 1, 999)] == [0, 0, 1, 999]
    assert 0 <= as_choice(10**300) < 10**9
    assert as_choice(-1) >= 0


def test_a_reason_is_a_name() -> None:
    """A finish reason is kept until the end, so it is kept short."""
    assert finish(1, "stop") == FinishEvent(1, "stop")
    assert len(finish(0, "x" * 10**6).reason) < 100
