"""The usage object in its spellings: OpenAI's two, Anthropic's, Cohere's, Gemini's."""

from __future__ import annotations

from typing import Any

from .decoding import as_count
from .events import UsageEvent


def read_usage(usage: Any) -> list[UsageEvent]:
    """Return the totals of a decoded usage object; nothing when it is none or null."""
    if not isinstance(usage, dict):
        return []
    tokens = usage.get("tokens")
    if isinstance(tokens, dict):  # Cohere
        usage = tokens
    output = as_count(usage.get("output_tokens", usage.get("completion_tokens")))
    if output is None:  # Gemini counts thoughts apart
        parts = (usage.get("candidatesTokenCount"), usage.get("thoughtsTokenCount"))
        counts = [count for part in parts if (count := as_count(part)) is not None]
        output = sum(counts) if counts else None
    names = ("input_tokens", "prompt_tokens", "promptTokenCount")
    inputs = (as_count(usage.get(name)) for name in names)
    return [UsageEvent(output, next((count for count in inputs if count is not None), None))]
