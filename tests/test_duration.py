"""Durations carry a unit, are exact, and say what is wrong with them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from goodput_proxy.duration import AnyDuration, Duration, PositiveDuration

MS, S = 10**6, 10**9
LONGEST_NS = 10**18 - 1  # what 18 digits of nanoseconds spell: 31 years


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("0s", 0),
        ("1ns", 1),
        ("1us", 1000),
        ("500ms", 500 * MS),
        ("1.5s", 1500 * MS),
        ("0.25ms", 250_000),
        ("2m", 120 * S),
        ("1h", 3600 * S),
        ("007s", 7 * S),
        (" 3s ", 3 * S),
        ("0.1s", 100 * MS),  # has no exact float
        ("9007199254740993ns", 2**53 + 1),  # nor has this
        ("0.4ns", 0),
    ],
)
def test_text_with_a_unit_is_read_exactly(text: str, ns: int) -> None:
    """A number with a unit is that many nanoseconds, however large."""
    assert Duration.parse(text) == ns


@pytest.mark.parametrize("value", ["500", "0", "1.5", " 7 ", "1e3", 500, 0.5, True])
def test_a_bare_number_is_told_to_take_a_unit(value: object) -> None:
    """Half of the field counts milliseconds, the other half seconds: nobody guesses here."""
    with pytest.raises(ValueError, match=r"has no unit: .*500ms, 1\.5s, 2m or 1h"):
        Duration.parse(value)


@pytest.mark.parametrize(
    "value",
    [
        *("", "s", "-1s", "+1s", "1h3", "1h3m", "1 s", "1S", "1d", "1,5s", ".5s", "5.s", "1e3s"),
        *("1s\n2s", "٣s", "9" * 19 + "s", "9" * 400 + "h", None, [], {"s": 1}),
    ],
)
def test_anything_else_is_no_duration(value: object) -> None:
    """What is not one number and one unit is refused with an example, also when it is huge."""
    with pytest.raises(ValueError, match=r"is not a duration: .*500ms, 1\.5s, 2m or 1h"):
        Duration.parse(value)


@given(st.integers(0, LONGEST_NS))
def test_text_round_trip(ns: int) -> None:
    """Every duration is spelled so that reading it back gives the same one."""
    assert Duration.parse(str(Duration(ns))) == ns


@given(st.integers(0, 10**15), st.integers(0, 9), st.sampled_from(["h", "m", "s", "ms", "us"]))
def test_one_decimal_is_a_tenth(whole: int, tenths: int, unit: str) -> None:
    """A decimal is a tenth of its unit, without the error of a float."""
    tenth = Duration.parse(f"0.1{unit}")
    assert Duration.parse(f"{whole}.{tenths}{unit}") == (10 * whole + tenths) * tenth


@pytest.mark.parametrize(
    ("ns", "text"),
    [(0, "0s"), (500 * MS, "500ms"), (1500 * MS, "1500ms"), (90 * S, "90s"), (120 * S, "2m")],
)
def test_the_largest_unit_without_a_fraction_is_shown(ns: int, text: str) -> None:
    """A duration is shown in the largest unit that needs no fraction."""
    assert (str(Duration(ns)), repr(Duration(ns))) == (text, text)


def test_seconds_are_for_clocks_and_prometheus() -> None:
    """`seconds` is the same duration as a float."""
    assert Duration.parse("1500ms").seconds == 1.5


def test_a_duration_is_taken_as_it_is() -> None:
    """What is a duration already is not parsed again."""
    duration = Duration(7)
    assert Duration.parse(duration) is duration


def test_zero_is_a_duration_but_no_limit() -> None:
    """Where a duration bounds something, zero is refused, also when rounding made it zero."""
    assert TypeAdapter(AnyDuration).validate_python("0s") == 0
    for text in ("0s", "0.1ns"):
        with pytest.raises(ValidationError, match="must be above zero"):
            TypeAdapter(PositiveDuration).validate_python(text)


def test_the_schema_accepts_what_the_parser_accepts() -> None:
    """Tools that check a file against the JSON schema see text with a unit, both ways."""
    adapter: TypeAdapter[Duration] = TypeAdapter(PositiveDuration)
    schema = adapter.json_schema()
    assert schema["type"] == "string"
    assert adapter.dump_json(Duration.parse("1.5s")) == b'"1500ms"'
