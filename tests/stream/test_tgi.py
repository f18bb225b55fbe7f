"""TGI's own API: one token a record, the end token too."""

from __future__ import annotations

from typing import Any

from goodput_proxy.faults import MeterFault
from goodput_proxy.stream.events import (
    ErrorEvent,
    Event,
    FinishEvent,
    TokenEvent,
    TokenSource,
    UnclassifiedEvent,
    UsageEvent,
)
from goodput_proxy.stream.tgi import TgiDialect
from tests.stream.records import LONG, oversize
from tests.stream.records import read as read_records

UNREAD = UnclassifiedEvent(MeterFault.OVERSIZE_RECORD)
DETAILS = {"finish_reason": "length", "generated_tokens": 3, "input_length": 5, "seed": None}


def read(*payloads: Any) -> list[Event]:
    """Return what a fresh dialect reads."""
    return read_records(TgiDialect(), *payloads)


def token(text: str, *, special: bool = False, **more: Any) -> dict[str, Any]:
    """Return a record."""
    about = {"id": 7, "text": text, "logprob": -1.0, "special": special}
    return {"index": 1, "token": about, "generated_text": None, "details": None, **more}


def test_each_record_is_a_token() -> None:
    """Also one without text, and a special one before the end."""
    assert read(token("a"), token(""), token("<s>", special=True)) == [TokenEvent(ids=1)] * 3


def test_the_whole_text_at_the_end_is_no_output() -> None:
    """The last record is one token, however much it repeats; details come on request."""
    assert read(token("a", generated_text="aaa")) == [TokenEvent(ids=1), FinishEvent(0, "stop")]
    assert read(token("a", generated_text="", details=DETAILS)) == [
        TokenEvent(ids=1),
        UsageEvent(3, 5, TokenSource.DETAILS),
        FinishEvent(0, "length"),
    ]


def test_the_end_token_is_hidden() -> None:
    """A special token at the end counts and shows nothing."""
    assert read(token("</s>", special=True, generated_text="a"))[0] == TokenEvent(
        ids=1, hidden=True
    )


def test_records_without_a_token() -> None:
    """Nothing is imagined."""
    assert read({}, {"generated_text": None}) == []
    assert read({"details": {"generated_tokens": -3}}) == [
        UsageEvent(None, None, TokenSource.DETAILS)
    ]


def test_errors() -> None:
    """Overload arrives inside a 200."""
    assert read({"error": "Model is overloaded", "error_type": "overloaded"}) == [
        ErrorEvent("overloaded")
    ]


def test_the_last_record_may_be_above_the_cap() -> None:
    """The repeated text is long; token, reason and counts stand at the ends."""
    assert read(oversize(token("a", generated_text=LONG, details=DETAILS))) == [
        UNREAD,
        TokenEvent(ids=1),
        UsageEvent(3, 5, TokenSource.DETAILS),
        FinishEvent(0, "length"),
    ]
    end = b'{"token":{"id":2,"text":"</s>","special":true},"generated_text":"%b","details":null}'
    assert read(oversize(end % LONG.encode())) == [
        *(UNREAD, TokenEvent(ids=1, hidden=True), FinishEvent(0, "stop")),
    ]
