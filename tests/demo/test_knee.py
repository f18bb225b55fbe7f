"""The knee is where the promise breaks first, and the proxy's metric shows it, too."""

from __future__ import annotations

import pytest

from goodput_proxy.demo.knee import Band, find_knee, read_bands
from goodput_proxy.scrape import parse

EXPOSITION = """
# TYPE goodput_load_requests_total counter
goodput_load_requests_total{model="a",slo="default",in_flight="2",compliant="true"} 10.0
goodput_load_requests_total{model="b",slo="default",in_flight="2",compliant="true"} 5.0
goodput_load_requests_total{model="a",slo="default",in_flight="16",compliant="true"} 3.0
goodput_load_requests_total{model="a",slo="default",in_flight="16",compliant="false"} 9.0
goodput_load_requests_total{model="a",slo="default",in_flight="4",compliant="false"} 0.0
# TYPE goodput_requests_in_flight gauge
goodput_requests_in_flight 3.0
"""


def test_bands_are_summed_over_models() -> None:
    """Lowest load first, and a band without requests is none."""
    assert read_bands(parse(EXPOSITION)) == [Band(2, 15, 15), Band(16, 12, 3)]


@pytest.mark.parametrize(
    ("good", "knee"),
    [
        ([20, 20, 19, 0], 4),
        ([20, 20, 20, 20], 8),
        ([20, 18, 20, 20], 1),  # what recovers does not count
        ([18, 20, 20, 20], 0),
        ([], 0),
    ],
)
def test_the_knee_is_the_last_before_the_first_break(good: list[int], knee: int) -> None:
    """Every load up to it keeps the objective of 95 %."""
    assert find_knee(Band(1 << power, 20, count) for power, count in enumerate(good)) == knee


def test_a_handful_of_requests_breaks_nothing() -> None:
    """A load with hardly a request is passed over."""
    assert find_knee([Band(1, 4, 0), Band(2, 5, 5), Band(4, 4, 4)]) == 2
