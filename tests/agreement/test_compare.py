"""The comparison fails on each kind of disagreement, and on none that is listed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.agreement.clients import AiperfRun, Seen
from tests.agreement.compare import LoadResult, Row, check_load, check_row
from tests.agreement.load import PLANS
from tests.agreement.scenarios import FAILED, GOOD, NOT_GOOD, SCENARIOS, Scenario

MEANS = {"ttft": 100.0, "itl": 20.0, "e2e": 300.0}
ALIKE = LoadResult(
    aiperf=AiperfRun(
        command="aiperf",
        requests=len(PLANS),
        good=sum(not plan.slow for plan in PLANS),
        means_ms=MEANS,
        records={"a": Seen(GOOD, 100, 300, 20, 11), "b": Seen(NOT_GOOD, 1100, 1300, 20, 11)},
    ),
    judged={"a": Seen("good", 100, 300, 20, 11), "b": Seen("slow ttft", 1100, 1300, 20, 11)},
    good=sum(not plan.slow for plan in PLANS),
    requests=len(PLANS),
    means_ms=MEANS,
)


def complaints(result: LoadResult) -> list[str]:
    """Return what does not hold of a load."""
    return [check.name for check in check_load(result) if not check.holds]


def test_a_load_that_agrees() -> None:
    """Nothing is complained of, and there is no reason to measure again."""
    assert complaints(ALIKE) == []
    assert ALIKE.means_agree()


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"good": 7}, "good requests"),
        ({"requests": 7}, "requests"),
        ({"judged": {"a": ALIKE.judged["a"]}}, "each request: verdict and tokens"),
        (
            {"judged": {**ALIKE.judged, "b": Seen("good", 1100, 1300, 20, 11)}},
            "each request: verdict and tokens",
        ),
        (
            {"judged": {**ALIKE.judged, "a": Seen("good", 100, 300, 20, 12)}},
            "each request: verdict and tokens",
        ),
        (
            {"judged": {**ALIKE.judged, "a": Seen("good", 595, 700, 20, 11)}},
            "nearest to a limit",
        ),
        ({"means_ms": {**MEANS, "ttft": 97.9}}, "mean TTFT"),
        ({"means_ms": {**MEANS, "itl": 20.6}}, "mean ITL"),
    ],
)
def test_a_load_that_does_not(change: dict[str, object], complaint: str) -> None:
    """Each difference is found, and nothing else is."""
    assert complaints(replace(ALIKE, **change)) == [complaint]  # type: ignore[arg-type]


def test_connecting_is_aiperfs_own() -> None:
    """What AIPerf says to have spent on connecting is taken from its TTFT."""
    records = {key: replace(seen, connecting_ms=2.5) for key, seen in ALIKE.aiperf.records.items()}
    late = replace(ALIKE, means_ms={**MEANS, "ttft": 97.0})

    assert not late.means_agree()
    assert replace(late, aiperf=replace(late.aiperf, records=records)).means_agree()


def as_listed(scenario: Scenario) -> Row:
    """Return a row in which everybody says what the list says."""
    times = scenario.times
    seen = Seen("", times.ttft_ms, times.e2e_ms, times.itl_ms)
    json = scenario.aiperf_ttft_ms is not None
    theirs = replace(seen, ttft_ms=scenario.aiperf_ttft_ms or times.ttft_ms)
    vllm = replace(seen, ttft_ms=scenario.vllm_ttft_ms or times.ttft_ms)
    return Row(
        scenario,
        (
            replace(theirs, outcome=scenario.aiperf[0]),
            replace(theirs, outcome=scenario.aiperf[1], itl_ms=0.0 if json else times.itl_ms),
        ),
        replace(vllm, outcome=scenario.vllm),
        (replace(seen, outcome=scenario.verdict),) * 3,
    )


def failures(row: Row) -> list[str]:
    """Return what does not hold of a scenario."""
    return [check.name for check in check_row(row) if not check.holds]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: str(scenario.number))
def test_listed_disagreements_pass(scenario: Scenario) -> None:
    """A scenario in which everybody does as listed is fine."""
    assert failures(as_listed(scenario)) == []


def test_unlisted_disagreements_do_not() -> None:
    """Another outcome or another first token of anybody is found."""
    row = as_listed(SCENARIOS[7])
    own, usage = row.aiperf
    ours = row.judged[0]

    assert failures(replace(row, aiperf=(replace(own, outcome="error"), usage)))
    assert failures(replace(row, aiperf=(own, replace(usage, outcome="not good"))))
    assert failures(replace(row, aiperf=(own, replace(usage, ttft_ms=300))))
    assert failures(replace(row, aiperf=(own, replace(usage, itl_ms=18))))
    assert failures(replace(row, vllm=replace(row.vllm, outcome=FAILED)))
    assert failures(replace(row, vllm=replace(row.vllm, ttft_ms=100)))
    assert failures(replace(row, judged=(ours, ours, replace(ours, outcome="slow ttft"))))
    assert failures(replace(row, judged=(ours, ours, replace(ours, ttft_ms=300))))
    assert failures(replace(row, judged=(ours, ours)))
