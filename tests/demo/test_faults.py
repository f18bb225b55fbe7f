"""Faults come as often as they are meant to, under the names by which the proxy counts them."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from goodput_proxy.demo.faults import Fault, Faults
from goodput_proxy.record import Outcome


def test_shares() -> None:
    """Each fault has its share, and the rest is served."""
    choices = random.Random(1)
    faults = Faults(internal=0.1, refused=0.2, truncated=0.3, stream_error=0.05)
    drawn = Counter(faults.draw(choices) for _ in range(10_000))
    for fault, share in ((Fault.INTERNAL, 0.1), (Fault.REFUSED, 0.2), (Fault.TRUNCATED, 0.3)):
        assert drawn[fault] / 10_000 == pytest.approx(share, abs=0.02)
    assert drawn[Fault.STREAM_ERROR] / 10_000 == pytest.approx(0.05, abs=0.01)
    assert drawn[None] / 10_000 == pytest.approx(0.35, abs=0.02)


def test_no_faults_unless_wanted() -> None:
    """A server fails on purpose only where a scenario says so."""
    choices = random.Random(1)
    assert {Faults().draw(choices) for _ in range(1000)} == {None}


def test_values_are_causes_of_the_proxy() -> None:
    """What was done and what was counted have one name."""
    assert {fault.value for fault in Fault} <= {outcome.value for outcome in Outcome}
