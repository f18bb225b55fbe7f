"""What all dialects share: terminators, keep-alives, errors, and records that are too large."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING

import pytest

from goodput_proxy.faults import MeterFault
from goodput_proxy.stream.candidates import CandidatesDialect
from goodput_proxy.stream.choices import ChoicesDialect
from goodput_proxy.stream.detect import DetectingDialect
from goodput_proxy.stream.events import (
    ErrorEvent,
    Event,
    FinishEvent,
    TerminatorEvent,
    TokenEvent,
    UnclassifiedEvent,
)
from goodput_proxy.stream.framing import Record
from goodput_proxy.stream.generate import GenerateDialect
from goodput_proxy.stream.llamacpp import LlamaCppDialect
from goodput_proxy.stream.ollama import OllamaDialect
from goodput_proxy.stream.plain import PlainDialect
from goodput_proxy.stream.tensors import TensorsDialect
from goodput_proxy.stream.tgi import TgiDialect
from goodput_proxy.stream.typed import TypedDialect
from tests.stream.records import LONG, oversize

if TYPE_CHECKING:
    from collections.abc import Callable

    from goodput_proxy.stream.dialect import Dialect

    Make = Callable[[], Dialect]

JSON_DIALECTS = (
    *(ChoicesDialect, TypedDialect, CandidatesDialect, GenerateDialect, LlamaCppDialect),
    *(OllamaDialect, TgiDialect, TensorsDialect, DetectingDialect),
)
every_dialect = pytest.mark.parametrize("make", [*JSON_DIALECTS, PlainDialect])
every_json_dialect = pytest.mark.parametrize("make", JSON_DIALECTS)


def says(make: Make, record: Record) -> list[Event]:
    """Return what a fresh dialect reads from one record."""
    return make().read(record)


@every_dialect
def test_the_terminator(make: Make) -> None:
    """`[DONE]` ends a stream of any family, with whatever blanks behind it."""
    assert says(make, Record(b"[DONE]")) == [TerminatorEvent()]
    assert says(make, Record(b"[DONE] ")) == [TerminatorEvent()]


@every_dialect
def test_empty_data_is_a_keep_alive(make: Make) -> None:
    """A record without data says nothing."""
    assert says(make, Record(b"")) == []


@every_dialect
def test_the_end_mark_of_the_framing(make: Make) -> None:
    """What framing calls the end is the terminator."""
    assert says(make, Record(None, end=True)) == [TerminatorEvent()]


@every_dialect
@pytest.mark.parametrize(
    "data",
    [
        *(b'{"message":"lost"}', b'{"code":500,"message":"m","type":"server_error"}', b"lost"),
        *(b'[{"a":1}]', None),
    ],
)
def test_named_error_events(make: Make, data: bytes | None) -> None:
    """`event: error` is an error whatever its data is, and also without data."""
    (event,) = says(make, Record(data, b"error"))

    assert isinstance(event, ErrorEvent)


@every_dialect
@pytest.mark.parametrize(
    "data",
    [
        b'{"error":{"message":"m","type":"T","param":null,"code":500}}',
        b'{"error": {"object": "error", "message": "m", "type": "T", "code": 500}}',
        b'{"error":"text"}',
        b'{"error":"text","error_type":"E"}',
        b'{"error": "it said "no" to us"}',
    ],
)
def test_error_records(make: Make, data: bytes) -> None:
    """An error is seen compact, spaced, nested, as a string, and as broken JSON."""
    (event,) = says(make, Record(data))

    assert isinstance(event, ErrorEvent)


@every_dialect
def test_an_error_that_is_too_large(make: Make) -> None:
    """An error that quotes a long prompt is an error, by its first key or by its name."""
    payload = {"error": {"message": LONG, "type": "T"}}
    for record in (oversize(payload), oversize({"message": LONG}, "error")):
        unread, event = says(make, record)
        assert unread == UnclassifiedEvent(MeterFault.OVERSIZE_RECORD)
        assert isinstance(event, ErrorEvent)


@every_dialect
def test_records_that_are_too_large_are_announced(make: Make) -> None:
    """Framing's gap is counted, also where nothing is left to read."""
    assert says(make, Record(None, oversize=True))[0] == UnclassifiedEvent(
        MeterFault.OVERSIZE_RECORD
    )


@every_json_dialect
@pytest.mark.parametrize(
    "data",
    [b"{\xff}", b'{"a":"\x00"}', b'{"a":' + b"[" * 10**5, b'{"a":' + b'{"b":' * 10**5, b"{"],
)
def test_what_is_not_json(make: Make, data: bytes) -> None:
    """Invalid UTF-8, NUL bytes and nesting without end are reported and never raise."""
    assert says(make, Record(data)) == [UnclassifiedEvent(MeterFault.BAD_JSON)]


@pytest.mark.parametrize(
    ("make", "record"),
    [
        (ChoicesDialect, {"choices": [{"delta": {"content": "x"}, "top": [float("-inf")]}]}),
        (TypedDialect, {"type": "response.output_text.delta", "delta": "x", "p": float("nan")}),
        (DetectingDialect, {"text": "x", "logprobs": [0, float("inf")]}),
        (OllamaDialect, {"response": "x : NaN", "p": float("nan")}),
    ],
)
def test_numbers_that_are_none(make: Make, record: object) -> None:
    """Python's JSON has words for them; a forbidden token's probability costs no record."""
    data = json.dumps(record).encode()

    assert says(make, Record(data)) == [TokenEvent()]
    assert says(make, Record(data[:-1])) == [UnclassifiedEvent(MeterFault.BAD_JSON)]


@pytest.mark.parametrize("make", [d for d in JSON_DIALECTS if d is not DetectingDialect])
@pytest.mark.parametrize("data", [b'"text"', b"7", b"null", b"true"])
def test_json_of_another_shape(make: Make, data: bytes) -> None:
    """JSON that no API sends is reported as such."""
    assert says(make, Record(data)) == [UnclassifiedEvent(MeterFault.UNEXPECTED_SHAPE)]


@pytest.mark.parametrize(
    ("make", "record"),
    [
        (
            ChoicesDialect,
            {
                "choices": [{"index": "I", "delta": {"content": "x"}}],
                "usage": {"completion_tokens": 1},
            },
        ),
        (
            partial(ChoicesDialect, echo_record=True),
            {"choices": [{"index": "I", "delta": {"content": "x"}, "token_ids": [1]}]},
        ),
        (
            CandidatesDialect,
            {"candidates": [{"index": "I", "content": {"parts": [{"text": "x"}]}}]},
        ),
        (GenerateDialect, {"index": "I", "text": "x"}),
        (LlamaCppDialect, {"index": "I", "content": "x", "tokens_predicted": 1}),
    ],
)
def test_choices_without_end_do_not_fill_the_memory(make: Make, record: object) -> None:
    """A server that invents a choice per record is read, and nothing grows with it."""
    dialect, seen = make(), set()
    for index in range(2000):
        data = json.dumps(record).replace('"I"', str(index)).encode()
        seen |= {e.choice for e in dialect.read(Record(data)) if isinstance(e, TokenEvent)}

    assert len(seen) > 1900
    for slot in getattr(type(dialect), "__slots__", ()):
        value = getattr(dialect, slot)
        assert not hasattr(value, "__len__") or len(value) < 100


@pytest.mark.parametrize(
    ("make", "record"),
    [
        (ChoicesDialect, {"choices": [{"delta": {}, "finish_reason": "R"}]}),
        (CandidatesDialect, {"candidates": [{"finishReason": "R"}]}),
        (GenerateDialect, {"text": "", "meta_info": {"finish_reason": {"type": "R"}}}),
        (LlamaCppDialect, {"stop": True, "stop_type": "R"}),
        (OllamaDialect, {"done": True, "done_reason": "R"}),
        (TgiDialect, {"generated_text": "", "details": {"finish_reason": "R"}}),
        (TypedDialect, {"type": "message_delta", "delta": {"stop_reason": "R"}}),
    ],
)
def test_a_reason_without_end_is_cut(make: Make, record: object) -> None:
    """What is kept until the end of a stream is short."""
    data = json.dumps(record).replace('"R"', f'"{LONG}"').encode()
    (reason,) = [e.reason for e in says(make, Record(data)) if isinstance(e, FinishEvent)]

    assert len(reason) < 100
