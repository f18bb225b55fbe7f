"""Rates and ratios are those of the documented PromQL."""

from __future__ import annotations

from goodput_proxy.gate.counts import Counts

COUNTS = Counts(
    {
        ("good", ""): 10.0,
        ("good_partial", ""): 2.0,
        ("slow", "itl"): 3.0,
        ("slow", "ttft"): 4.0,
        ("slow", "e2e"): 0.0,
        ("error", "http_5xx"): 1.0,
        ("client_error", "http_4xx"): 50.0,
        ("cancelled", "client"): 60.0,
    }
)


def test_goodput_throughput_and_ratio() -> None:
    """Clients' own faults and cancels are in none of them."""
    assert COUNTS.good == 12
    assert COUNTS.answered == 19
    assert COUNTS.judged == 20
    assert COUNTS.ratio == 12 / 20


def test_causes() -> None:
    """Only judged requests have a reason not to be good; the most frequent stands first."""
    assert list(COUNTS.causes.items()) == [("slow:ttft", 4), ("slow:itl", 3), ("error:http_5xx", 1)]


def test_no_requests() -> None:
    """Without a judged request there is no ratio, rather than a good or a bad one."""
    assert Counts().ratio is None
    assert Counts({("cancelled", "client"): 3.0}).ratio is None


def test_sum() -> None:
    """Counts add up verdict by verdict and cause by cause."""
    total = Counts.sum([COUNTS, Counts({("slow", "ttft"): 1.0, ("slow", "stall"): 2.0})])

    assert total.of("slow") == 10
    assert total.by_cause["slow", "ttft"] == 5
    assert total.good == 12
