"""Verdicts are read from `/metrics` and added up as PromQL would."""

from __future__ import annotations

from collections import Counter

from goodput_proxy.demo.verdicts import Verdicts
from goodput_proxy.scrape import parse

EXPOSITION = """
# HELP goodput_requests_total Requests by verdict.
# TYPE goodput_requests_total counter
goodput_requests_total{model="a",slo="default",verdict="good",cause=""} 10.0
goodput_requests_total{model="b",slo="default",verdict="good",cause=""} 5.0
goodput_requests_total{model="a",slo="default",verdict="good_partial",cause=""} 1.0
goodput_requests_total{model="a",slo="default",verdict="slow",cause="ttft"} 12.0
goodput_requests_total{model="a",slo="default",verdict="slow",cause="itl"} 3.0
goodput_requests_total{model="a",slo="default",verdict="error",cause="connect"} 1.0
goodput_requests_total{model="a",slo="default",verdict="client_error",cause="http_4xx"} 2.0
goodput_requests_total{model="a",slo="default",verdict="cancelled",cause="client"} 4.0
# TYPE goodput_client_cancels_total counter
goodput_client_cancels_total{model="a",slo="default",phase="before_first_token"} 7.0
# TYPE goodput_requests_in_flight gauge
goodput_requests_in_flight 3.0
# TYPE goodput_output_tokens_total counter
goodput_output_tokens_total{model="a",slo="default",verdict="good"} 300.0
goodput_output_tokens_total{model="a",slo="default",verdict="slow"} 70.0
# TYPE goodput_token_count_source_total counter
goodput_token_count_source_total{source="usage"} 33.0
goodput_token_count_source_total{source="events"} 0.0
"""


def test_verdicts_are_summed_over_apis_and_models() -> None:
    """Good includes good_partial; slow leaves out who left; the ratio is the design's."""
    verdicts = Verdicts.of(parse(EXPOSITION))
    assert verdicts.good == 16
    assert verdicts.slow == 15 - (7 - 4)
    assert verdicts.failed == 1 + 2
    assert verdicts.completed == 16 + 12
    assert verdicts.ratio == 16 / (16 + 15 + 1)
    assert verdicts.in_flight == 3
    assert verdicts.output_tokens == 370
    assert verdicts.token_sources == {"usage": 33}


def test_causes_come_most_frequent_first() -> None:
    """A cause stands with its verdict; good requests have none."""
    assert list(Verdicts.of(parse(EXPOSITION)).causes.items()) == [
        ("slow:ttft", 12),
        ("cancelled:client", 4),
        ("slow:itl", 3),
        ("client_error:http_4xx", 2),
        ("error:connect", 1),
    ]


def test_difference_of_two_scrapes() -> None:
    """Between two scrapes only what was added counts; what is in flight is the later scrape's."""
    earlier = Verdicts(Counter({("good", ""): 4, ("slow", "ttft"): 12}), client_cancels=7)
    passed = Verdicts.of(parse(EXPOSITION)).since(earlier)
    assert (passed.good, passed.client_cancels, passed.in_flight) == (12, 0, 3)
    assert (passed.output_tokens, passed.token_sources) == (370, {"usage": 33})
    assert "slow:ttft" not in passed.causes


def test_nothing_counted_has_no_ratio() -> None:
    """Without requests there is no ratio, rather than a good or a bad one."""
    assert Verdicts.of([]).ratio is None
    assert Verdicts.of([]).causes == {}
