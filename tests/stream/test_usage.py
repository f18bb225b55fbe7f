"""Totals in every spelling of the field."""

from __future__ import annotations

from typing import Any

import pytest

from goodput_proxy.stream.events import UsageEvent
from goodput_proxy.stream.usage import read_usage


@pytest.mark.parametrize(
    ("usage", "said"),
    [
        ({"prompt_tokens": 3, "completion_tokens": 4}, UsageEvent(4, 3)),
        ({"input_tokens": 3, "output_tokens": 4}, UsageEvent(4, 3)),
        ({"output_tokens": 0, "input_tokens": 0}, UsageEvent(0, 0)),
        ({"billed_units": {}, "tokens": {"input_tokens": 3, "output_tokens": 4}}, UsageEvent(4, 3)),
        ({"candidatesTokenCount": 4, "thoughtsTokenCount": 2}, UsageEvent(6)),
        ({"thoughtsTokenCount": 2, "promptTokenCount": 3}, UsageEvent(2, 3)),
        ({"promptTokenCount": 3}, UsageEvent(None, 3)),
        ({"completion_tokens": "4", "prompt_tokens": -3}, UsageEvent(None)),
        ({"output_tokens": True}, UsageEvent(None)),
        ({"output_tokens": 10**30}, UsageEvent(None)),
        ({}, UsageEvent(None)),
    ],
)
def test_spellings(usage: dict[str, Any], said: UsageEvent) -> None:
    """Each API's names are understood; what is no count was not said."""
    assert read_usage(usage) == [said]


@pytest.mark.parametrize("usage", [None, "", 7, []])
def test_no_usage(usage: Any) -> None:
    """`usage: null` is common and says nothing."""
    assert read_usage(usage) == []
