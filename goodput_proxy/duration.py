"""Durations as operators write them: `500ms`, `1.5s`, `2m`, `1h`.

A duration carries its unit. A bare number is an error that says so, since half of the field
counts in milliseconds and the other half in seconds.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import AfterValidator, WithJsonSchema
from pydantic_core import core_schema

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler

_NS = {"h": 3600 * 10**9, "m": 60 * 10**9, "s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
# 18 digits reach further than any clock; unbounded ones overflow what seconds are kept in.
_PATTERN = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,18})?)(h|m|s|ms|us|ns)")
_HELP = "a duration is a number with a unit, such as 500ms, 1.5s, 2m or 1h"


class Duration(int):
    """Nanoseconds in the program, text with a unit everywhere else."""

    @classmethod
    def parse(cls, value: object) -> Self:
        """Return the duration that a text spells.

        Raises:
            ValueError: with a message that says what a duration looks like.
        """
        if isinstance(value, cls):
            return value
        match = _PATTERN.fullmatch(value.strip()) if isinstance(value, str) else None
        if match is not None:
            return cls(round(Fraction(match[1]) * _NS[match[2]]))  # a float has 53 bits
        if _is_number(value):
            raise ValueError(f"{value!r} has no unit: {_HELP}")
        raise ValueError(f"{value!r} is not a duration: {_HELP}")

    @property
    def seconds(self) -> float:
        """The duration in seconds, for asyncio and Prometheus."""
        return self / 10**9

    def __str__(self) -> str:
        if self == 0:
            return "0s"
        unit, ns = next(item for item in _NS.items() if self % item[1] == 0)
        return f"{self // ns}{unit}"

    __repr__ = __str__

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        del source, handler
        return core_schema.no_info_plain_validator_function(
            cls.parse, serialization=core_schema.to_string_ser_schema()
        )


def _is_number(value: object) -> bool:
    try:
        float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return False
    return True


def _above_zero(duration: Duration) -> Duration:
    if duration == 0:
        raise ValueError("must be above zero")
    return duration


_SCHEMA = WithJsonSchema({"type": "string", "pattern": r"^\d+(\.\d+)?(h|m|s|ms|us|ns)$"})

AnyDuration = Annotated[Duration, _SCHEMA]
PositiveDuration = Annotated[Duration, AfterValidator(_above_zero), _SCHEMA]
