"""What can be wrong with JSON that somebody else wrote, and how servers say what went wrong.

msgspec raises `DecodeError` for syntax and (as `ValidationError`) for types, but lets the
interpreter's own errors through: text that is not UTF-8, and nesting without end.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from goodput_proxy.faults import MeterFault

from .events import ErrorEvent, Event, FinishEvent, UnclassifiedEvent

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

_MAX_INDEX = 10**6  # of choices: a longer number would be kept with its event
_MAX_REASON_CHARS = 64
_MAX_COUNT = 10**15 - 1  # of tokens; a larger number is none of theirs

# Python's writer lets these through, which are no JSON: log probabilities of tokens that a grammar
# forbids. Inside a text it does no harm to exchange them.
_NOT_A_NUMBER = re.compile(rb"(?<=[\[:,\s])(?:-?Infinity|NaN)\b")

# transformers serve does not escape the message inside its error records.
_ERROR_HEAD = re.compile(rb"""\s*\{\s*"error"\s*:(?!\s*null\b)""")


def repair(data: bytes) -> bytes | None:
    """Return JSON in which numbers that are none are null, None when it has none of them."""
    repaired, found = _NOT_A_NUMBER.subn(b"null", data)
    return repaired if found else None


def is_error(data: bytes, event: bytes) -> bool:
    """Return whether a record reports a failure, JSON or not."""
    return event == b"error" or _ERROR_HEAD.match(data) is not None


def unreadable(data: bytes, event: bytes, exc: Exception) -> Event:
    """Say why a record could not be read; servers also send error records that are not JSON."""
    if is_error(data, event):
        return ErrorEvent()
    if isinstance(exc, msgspec.ValidationError):
        return UnclassifiedEvent(MeterFault.UNEXPECTED_SHAPE)
    return UnclassifiedEvent(MeterFault.BAD_JSON)


def failure(error: Any, kind: Any = None, code: Any = None) -> ErrorEvent:
    """Return what a server says of a failure.

    Args:
        error: the error object or string.
        kind: a type beside it, for errors without one inside.
        code: a code beside it, likewise.
    """
    if isinstance(error, dict):
        kind = error.get("type") or kind
        code = error.get("code") or error.get("http_status_code") or code
    return ErrorEvent(
        kind if isinstance(kind, str) else None,
        code if isinstance(code, int | str) else None,
    )


def finish(choice: int, reason: str) -> FinishEvent:
    """Return the end of a choice; its reason is a name, and is cut where it is none."""
    return FinishEvent(choice, reason[:_MAX_REASON_CHARS])


def as_choice(index: int | None) -> int:
    """Return the choice that an index names; without one there is only one choice."""
    return index % _MAX_INDEX if index else 0


def as_count(value: Any) -> int | None:
    """Return a value where a server states a number of tokens, None when it is none."""
    return value if type(value) is int and 0 <= value <= _MAX_COUNT else None
