"""The headers by which a request chooses its SLO: what is taken, what is ignored, and why."""

from __future__ import annotations

import pytest

from goodput_proxy.faults import SloHeaderFault
from goodput_proxy.overrides import NO_OVERRIDES, OverrideRules, Overrides, read_overrides
from goodput_proxy.slo import Limits

MS = 10**6
RULES = OverrideRules(bounds_ns=(MS, 1000 * MS), classes=frozenset(("gold", "default")))
NAN, BOUNDS, TWICE, UNKNOWN = SloHeaderFault


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("450", 450 * MS),
        ("0450", 450 * MS),
        (" 450\t", 450 * MS),
        ("450, 450", 450 * MS),  # joined by an intermediary
        ("12.345678", 12_345_678),
        ("1", MS),  # both bounds are included
        ("1000", 1000 * MS),
        ("0.999999", BOUNDS),
        ("1000.000001", BOUNDS),
        ("0", BOUNDS),
        ("9" * 18, BOUNDS),
        ("9" * 1000, NAN),
        ("", NAN),
        ("-1", NAN),
        ("+450", NAN),
        ("450ms", NAN),
        ("0.45s", NAN),
        ("4 50", NAN),
        ("1e3", NAN),
        ("nan", NAN),
        ("inf", NAN),
        ("0x10", NAN),
        (".5", NAN),
        ("\u0664\u0665\u0660", NAN),  # digits, but not of this alphabet
        ("450, 451", TWICE),
        ("450,", TWICE),
    ],
)
def test_limits(text: str, expected: int | SloHeaderFault) -> None:
    """A limit is a plain decimal number of milliseconds within the bounds."""
    headers = [(b"X-SLO-TTFT-ms", text.encode())]
    if isinstance(expected, SloHeaderFault):
        assert read_overrides(headers, RULES) == Overrides(faults=(expected,))
    else:
        assert read_overrides(headers, RULES) == Overrides(ttft_ns=expected)


def test_headers_that_come_twice() -> None:
    """The same value twice is one; two values contradict each other, and neither counts."""
    same = [(b"x-slo-tpot-ms", b"40"), (b"x", b"y"), (b"X-Slo-Tpot-Ms", b"40")]
    differing = [(b"x-slo-class", b"gold"), (b"x-slo-class", b"default")]

    assert read_overrides(same, RULES) == Overrides(itl_ns=40 * MS)
    assert read_overrides(differing, RULES) == Overrides(faults=(TWICE,))


@pytest.mark.parametrize("name", ["silver", "", "GOLD", "göld"])
def test_unknown_classes(name: str) -> None:
    """Who names no class gets the one that matches, and is counted."""
    assert read_overrides([(b"x-slo-class", name.encode())], RULES) == Overrides(faults=(UNKNOWN,))


def test_each_header_counts_for_itself() -> None:
    """What is wrong with one header says nothing of the others."""
    headers = [(b"x-slo-ttft-ms", b"x"), (b"x-slo-tpot-ms", b"0"), (b"x-slo-class", b"gold")]

    assert read_overrides(headers, RULES) == Overrides("gold", faults=(NAN, BOUNDS))


def test_what_may_not_be_chosen_is_not_looked_at() -> None:
    """A header whose setting is off can be neither right nor wrong."""
    headers = [(b"x-slo-ttft-ms", b"x"), (b"x-slo-class", b"x")]

    assert read_overrides(headers, OverrideRules(bounds_ns=(1, 2))).faults == (NAN,)
    assert read_overrides(headers, OverrideRules(classes=RULES.classes)).faults == (UNKNOWN,)
    assert read_overrides([(b"accept", b"*/*")], RULES) is NO_OVERRIDES


def test_limits_stand_in_for_those_of_the_class() -> None:
    """Only what is chosen is replaced, also where the class promises nothing."""
    limits = Limits(ttft_ns=1, stall_ns=3)

    assert Overrides(ttft_ns=5).apply(limits) == Limits(ttft_ns=5, stall_ns=3)
    assert Overrides(itl_ns=6).apply(limits) == Limits(ttft_ns=1, itl_ns=6, stall_ns=3)
    assert NO_OVERRIDES.apply(limits) is limits
