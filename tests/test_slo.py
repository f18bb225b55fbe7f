"""The verdict: one per request, for the right reason."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from goodput_proxy.record import Outcome, RequestRecord
from goodput_proxy.slo import (
    Dimension,
    Judgement,
    Limits,
    Verdict,
    judge,
)

ALL = Limits(ttft_ns=100, itl_ns=10, stall_ns=50, e2e_ns=1000)
TTFT, STALL, ITL, E2E = Dimension


def ended(
    outcome: Outcome = Outcome.OK, values: dict[str, int | None] | None = None
) -> RequestRecord:
    """Return a record that meets every limit of ALL exactly, but for `values`."""
    return replace(
        RequestRecord(outcome, ttft_ns=100, itl_ns=10, stall_ns=50, e2e_ns=1000, elapsed_ns=1000),
        **(values or {}),
    )


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, Judgement(Verdict.GOOD)),
        ({"ttft_ns": 101}, Judgement(Verdict.SLOW, "ttft", (TTFT,))),
        ({"stall_ns": 51}, Judgement(Verdict.SLOW, "stall", (STALL,))),
        ({"itl_ns": 11}, Judgement(Verdict.SLOW, "itl", (ITL,))),
        ({"e2e_ns": 1001}, Judgement(Verdict.SLOW, "e2e", (E2E,))),
        (
            {"ttft_ns": 101, "itl_ns": 11, "stall_ns": 51, "e2e_ns": 1001},
            Judgement(Verdict.SLOW, "ttft", (TTFT, STALL, ITL, E2E)),
        ),
        ({"itl_ns": 11, "stall_ns": 51}, Judgement(Verdict.SLOW, "stall", (STALL, ITL))),
        ({"itl_ns": None, "stall_ns": None}, Judgement(Verdict.GOOD_PARTIAL)),
        ({"ttft_ns": None, "itl_ns": None, "stall_ns": None}, Judgement(Verdict.GOOD_PARTIAL)),
        ({"ttft_ns": None, "e2e_ns": 1001}, Judgement(Verdict.SLOW, "e2e", (E2E,))),
    ],
)
def test_limits_are_met_inclusively(values: dict[str, int | None], expected: Judgement) -> None:
    """A value equal to its limit meets it; the first miss in order is the cause."""
    assert expected == judge(ended(values=values), ALL)


def test_what_is_not_promised_is_not_judged() -> None:
    """Without limits every answer that ended well is good."""
    assert Judgement(Verdict.GOOD) == judge(
        ended(values={"ttft_ns": None, "itl_ns": 10**12}), Limits()
    )


@pytest.mark.parametrize(
    ("outcome", "verdict"),
    [
        (Outcome.HTTP_4XX, Verdict.CLIENT_ERROR),
        (Outcome.HTTP_5XX, Verdict.ERROR),
        (Outcome.HTTP_429, Verdict.ERROR),
        (Outcome.HTTP_408, Verdict.ERROR),
        (Outcome.STREAM_ERROR, Verdict.ERROR),
        (Outcome.TRUNCATED, Verdict.ERROR),
        (Outcome.EMPTY, Verdict.ERROR),
        (Outcome.CONNECT, Verdict.ERROR),
        (Outcome.TIMEOUT, Verdict.ERROR),
    ],
)
def test_failures_are_not_measured_against_limits(outcome: Outcome, verdict: Verdict) -> None:
    """A request that did not end well has its outcome as cause, fast or slow."""
    assert Judgement(verdict, outcome) == judge(ended(outcome), ALL)
    assert Judgement(verdict, outcome) == judge(ended(outcome, {"ttft_ns": 10**9}), ALL)


@pytest.mark.parametrize(
    ("values", "cause"),
    [
        ({"ttft_ns": None, "awaits_token": True, "elapsed_ns": 100}, ""),
        ({"ttft_ns": None, "awaits_token": True, "elapsed_ns": 101}, "ttft"),
        ({"ttft_ns": None, "elapsed_ns": 101}, ""),
        ({"waiting_ns": 50}, ""),
        ({"waiting_ns": 51}, "stall"),
        ({"stall_ns": 51}, "stall"),
        ({"stall_ns": None, "waiting_ns": 51}, "stall"),
        ({"itl_ns": 11}, "itl"),
        ({"itl_ns": None}, ""),
        ({"elapsed_ns": 1001}, "e2e"),
    ],
)
def test_leaving_after_a_miss_is_slow(values: dict[str, int | None], cause: str) -> None:
    """A client that leaves is cancelled, unless a limit had been missed by then."""
    judgement = judge(ended(Outcome.CLIENT, values), ALL)

    if cause:
        assert (Verdict.SLOW, cause) == (judgement.verdict, judgement.cause)
    else:
        assert Judgement(Verdict.CANCELLED, "client") == judgement


def test_compliant_is_good_or_partly_good() -> None:
    """Goodput counts both kinds of good and nothing else."""
    compliant = {v for v in Verdict if Judgement(v).compliant}

    assert {Verdict.GOOD, Verdict.GOOD_PARTIAL} == compliant
