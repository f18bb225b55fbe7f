"""What counts as output, in decoded values and in the ends of records that were not decoded."""

from __future__ import annotations

import json
from typing import Any

import pytest

from goodput_proxy.stream.output import (
    find_strings,
    first_number,
    has_text,
    last_number,
    last_string,
    shows_text,
)


@pytest.mark.parametrize(
    "value",
    [
        "x",
        ["", "x"],
        {"any_name": "x"},
        {"role": "assistant", "thinking": "\n"},
        {"tool_calls": [{"id": "1", "function": {"name": "f", "arguments": ""}}]},
        {"tool_calls": [{"function": {"name": "f", "arguments": {"city": "Ulm"}}}]},
        {"audio": {"data": "UklGR"}},
    ],
)
def test_any_string_is_text(value: Any) -> None:
    """Output counts under every name and at every depth."""
    assert has_text(value)


@pytest.mark.parametrize(
    "value",
    [
        *("", [], {}, None, 0, 7, 1.5, True),
        {"role": "assistant", "content": "", "reasoning": None, "tool_calls": []},
        {"type": "signature_delta", "signature": "abc"},
        {"type": "citations_delta", "citation": {"cited_text": "abc"}},
        {"annotations": [{"type": "url_citation", "url_citation": {"url": "http://x"}}]},
        {"thoughtSignature": "abc", "index": "0", "id": "1", "expires_at": "soon"},
        [{"type": "message", "id": "msg_1", "status": "completed", "content": []}],
    ],
)
def test_labels_are_no_text(value: Any) -> None:
    """Roles, types, ids, signatures and citations are not generated."""
    assert not has_text(value)


@pytest.mark.parametrize(
    "payload",
    [
        {"delta": {"content": "x"}},
        {"delta": {"arguments": '{"a":1}'}},
        {"text": "\n"},
        {"delta": "x"},
        {"message": {"content": "", "tool_calls": [{"function": {"name": "f"}}]}},
        {"parts": [{"functionCall": {"name": "f", "args": {}}}]},
        {"parts": [{"inlineData": {"mimeType": "audio/wav"}}]},
        {"delta": {"audio": {"id": "1", "data": "UklG"}}},
    ],
)
def test_text_is_found_in_the_beginning_of_a_record(payload: Any) -> None:
    """Compact, spaced or indented: a value under a name of output is seen."""
    assert shows_text(json.dumps(payload).encode())
    assert shows_text(json.dumps(payload, separators=(",", ":")).encode())
    assert shows_text(json.dumps(payload, indent=2).encode())


@pytest.mark.parametrize(
    "payload",
    [
        {"delta": {"role": "assistant", "content": "", "tool_calls": []}},
        {"delta": {"content": None, "function_call": {}}},
        {"prompt": 'they said "content":"x" and "text": "y"'},
        {"id": "content", "model": "text"},
    ],
)
def test_text_is_not_imagined(payload: Any) -> None:
    """Empty values are no output, and a quote inside a string is escaped."""
    assert not shows_text(json.dumps(payload).encode())


def test_strings_and_numbers_near_an_end() -> None:
    """The last of a name is taken from a tail, the first from a head."""
    part = b'..."a": 1, "s":"x", "a":22,"s" : "y", "prompt_a":3, "a":4.5, "s":"z\\"", "a":-1}'

    assert find_strings(part, b"s") == ["x", "y"]
    assert last_string(part, b"s") == "y"
    assert last_string(part, b"t") == ""
    assert first_number(part, b"a") == 1
    assert last_number(b'"a":1,"a":22}', b"a") == 22
    assert first_number(part, b"b") is None
    assert last_number(part, b"b") is None
