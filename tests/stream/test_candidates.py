"""Gemini: parts of candidates, thoughts among them."""

from __future__ import annotations

from typing import Any

import pytest

from goodput_proxy.faults import MeterFault
from goodput_proxy.stream.candidates import CandidatesDialect
from goodput_proxy.stream.events import (
    ErrorEvent,
    Event,
    FinishEvent,
    TokenEvent,
    UnclassifiedEvent,
    UsageEvent,
)
from tests.stream.records import LONG, oversize
from tests.stream.records import read as read_records

UNREAD = UnclassifiedEvent(MeterFault.OVERSIZE_RECORD)


def read(*payloads: Any) -> list[Event]:
    """Return what a fresh dialect reads."""
    return read_records(CandidatesDialect(), *payloads)


def chunk(*parts: Any, **more: Any) -> dict[str, Any]:
    """Return a record with one candidate."""
    return {"candidates": [{"content": {"role": "model", "parts": list(parts)}, **more}]}


@pytest.mark.parametrize(
    "part",
    [
        {"text": "x"},
        {"text": "x", "thought": True},
        {"functionCall": {"name": "f", "args": {}}},
        {"executableCode": {"language": "PYTHON", "code": "1"}},
        {"inlineData": {"mimeType": "audio/pcm", "data": "AAAA"}},
    ],
)
def test_output_is_a_token(part: Any) -> None:
    """Text, thoughts, calls, code and media are output."""
    assert read(chunk(part)) == [TokenEvent()]
    assert read(chunk({"text": ""}, part, index=2)) == [TokenEvent(2)]


@pytest.mark.parametrize(
    "payload",
    [
        chunk(),
        chunk({"text": ""}),
        chunk({"text": "", "thoughtSignature": "abc"}),
        chunk({"codeExecutionResult": {"output": "1"}}),
        {"candidates": [{}]},
        {"candidates": [{"content": {}}]},
        {"promptFeedback": {"blockReason": "SAFETY"}},
    ],
)
def test_what_is_no_output(payload: Any) -> None:
    """Signatures and the results of tools are not generated."""
    assert read(payload) == []


def test_the_last_record() -> None:
    """The finish reason and the totals come with the last text; thoughts are counted apart."""
    usage = {"promptTokenCount": 1, "candidatesTokenCount": 2, "thoughtsTokenCount": 3}

    assert read({**chunk({"text": "x"}, finishReason="STOP"), "usageMetadata": usage}) == [
        TokenEvent(),
        FinishEvent(0, "STOP"),
        UsageEvent(5, 1),
    ]


def test_errors_come_bare_and_in_a_list() -> None:
    """An error body is an object, or a list with one."""
    error = {"error": {"code": 429, "status": "RESOURCE_EXHAUSTED"}}

    assert read(error) == read([error]) == [ErrorEvent(None, 429)]


def test_a_record_that_is_large_by_its_text_or_its_media() -> None:
    """Of a record above the cap there are its token, its end and its totals."""
    usage = {"promptTokenCount": 1, "candidatesTokenCount": 2, "thoughtsTokenCount": 3}
    text = {**chunk({"text": LONG}, finishReason="STOP", index=1), "usageMetadata": usage}
    image = chunk({"inlineData": {"mimeType": "image/png", "data": LONG}})

    assert read(oversize(text)) == [
        *(UNREAD, TokenEvent(1), FinishEvent(1, "STOP"), UsageEvent(5, 1)),
    ]
    assert read(oversize(image))[:2] == [UNREAD, TokenEvent()]
    assert TokenEvent() not in read(oversize({"other": LONG}))
