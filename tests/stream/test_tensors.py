"""Triton: whatever tensors a model puts out."""

from __future__ import annotations

import json
from typing import Any

import pytest

from goodput_proxy.faults import MeterFault
from goodput_proxy.stream.events import (
    EndsAtCloseEvent,
    ErrorEvent,
    Event,
    TokenEvent,
    UnclassifiedEvent,
)
from goodput_proxy.stream.tensors import TensorsDialect
from tests.stream.records import LONG, oversize
from tests.stream.records import read as read_records

UNREAD = UnclassifiedEvent(MeterFault.OVERSIZE_RECORD)
NAMES = {"model_name": "m", "model_version": "1", "sequence_id": 0, "sequence_end": False}


def read(*payloads: Any) -> list[Event]:
    """Return what a fresh dialect reads."""
    return read_records(TensorsDialect(), *payloads)


@pytest.mark.parametrize(
    "tensors",
    [
        {"text_output": "x"},
        {"ANSWER": "x"},
        {"OUTPUT": ["x"]},
        {"output_ids": [[7, 8]]},
        {"token_ids": [7]},
    ],
)
def test_any_text_is_output(tensors: Any) -> None:
    """A model may call its text anything, or leave detokenizing to others."""
    assert read({**NAMES, **tensors}) == [EndsAtCloseEvent(), TokenEvent()]
    assert TensorsDialect().read_unary(json.dumps({**NAMES, **tensors}).encode())[1:] == [
        TokenEvent()
    ]


@pytest.mark.parametrize(
    "tensors",
    [
        *({}, {"text_output": ""}, {"cum_log_probs": 0.5, "output_log_probs": [0.5]}),
        *({"output_ids": []}, {"finish_reason": "stop"}, {"id": "request"}),
    ],
)
def test_names_and_numbers_are_no_output(tensors: Any) -> None:
    """What every record has, and a last one without text, is no token."""
    assert read({**NAMES, **tensors}) == [EndsAtCloseEvent()]


def test_errors() -> None:
    """An error under a 200."""
    assert read({"error": "in ensemble: out of memory"}) == [ErrorEvent()]
    assert TensorsDialect().read_unary(b'{"error":"m"}') == [ErrorEvent()]


def test_records_above_the_cap() -> None:
    """The format still ends with its body."""
    assert read(oversize({"text_output": LONG})) == [UNREAD, EndsAtCloseEvent(), TokenEvent()]
    assert read(oversize({"scores": [0.5] * 2000})) == [UNREAD, EndsAtCloseEvent()]
