"""Each scenario tells its story by numbers: in simulated time, where they are exact and long."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest

from goodput_proxy.demo.outcome import Density, Spread
from goodput_proxy.demo.records import Limits
from goodput_proxy.demo.scenarios import RAMP, SCENARIOS, Scenario
from tests.demo.simulation import simulate

MS = 1_000_000


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=lambda scenario: scenario.name)
def test_a_row_is_complete(scenario: Scenario) -> None:
    """A scenario is known by its name, and its numbers go together."""
    assert SCENARIOS[scenario.name] is scenario
    assert scenario.users[0] <= scenario.users[1]
    assert (scenario.warm_up_s is None) == (scenario.users[0] < scenario.users[1])
    assert (scenario.warm_up_s or 0.0) < scenario.duration_s / 2
    assert scenario.interval_s < scenario.duration_s / 5
    assert not scenario.story.endswith(".")


def test_scaling_scales_every_time_and_nothing_else() -> None:
    """A story at a tenth of the time is the same story."""
    whole, tenth = SCENARIOS["spec-decode"], SCENARIOS["spec-decode"].scaled(0.1)
    changed = {f.name for f in fields(whole) if getattr(whole, f.name) != getattr(tenth, f.name)}
    assert changed == {"profile", "limits", "duration_s", "warm_up_s", "interval_s", "level_s"}
    assert tenth.profile == replace(whole.profile, time_scale=0.1)
    assert tenth.limits == whole.limits.scaled(0.1)
    assert tenth.scaled(10).duration_s == whole.duration_s
    assert RAMP.scaled(0.1).warm_up_s is None
    assert simulate(tenth).ratio == pytest.approx(simulate(whole).ratio, abs=0.02)


@pytest.mark.parametrize("seed", range(3))
def test_overload_is_nearly_all_for_nothing(seed: int) -> None:
    """0.91 requests a second are answered, 0.01 in time: one in a hundred, whatever the seed."""
    run = simulate(SCENARIOS["overload"], seed=seed)
    assert run.throughput_rps == pytest.approx(0.91, abs=0.07)
    assert run.goodput_rps == pytest.approx(0.01, abs=0.002)
    assert run.ratio == pytest.approx(0.011, abs=0.002)


def test_overload_stays_as_it_is() -> None:
    """Over half an hour the averages are those of the first two minutes."""
    run = simulate(SCENARIOS["overload"], seconds=2000)
    assert run.throughput_rps == pytest.approx(0.91, abs=0.03)
    assert run.ratio == pytest.approx(0.01, abs=0.001)
    ttft = Spread.of(record.ttft_ns for record in run.records)
    itl = Spread.of(record.itl_ns for record in run.records)
    assert ttft is not None
    assert ttft.p50_ns > 10_000 * MS
    assert itl is not None
    assert itl.p95_ns < run.limits.itl_ns


def test_steady_is_good_with_a_margin() -> None:
    """Not a request comes near a limit."""
    run = simulate(SCENARIOS["steady"])
    assert run.ratio == 1.0
    assert max(record.ttft_ns or 0 for record in run.records) < run.limits.ttft_ns / 2
    assert max(record.itl_ns or 0 for record in run.records) < run.limits.itl_ns / 2


@pytest.mark.parametrize("seed", range(3))
def test_spec_decode_stalls_and_has_a_good_mean(seed: int) -> None:
    """ITL is kept by all, stall by some, and a record holds more than three tokens."""
    run = simulate(SCENARIOS["spec-decode"], seed=seed)
    limits = run.limits
    assert limits.stall_ns is not None
    assert max(record.itl_ns or 0 for record in run.records) <= limits.itl_ns
    stalls_ns = [record.stall_ns or 0 for record in run.records]
    assert 0.2 < sum(stall_ns <= limits.stall_ns for stall_ns in stalls_ns) / len(stalls_ns) < 0.8
    density = Density.of(run.records)
    assert density is not None
    assert density.tokens > 3 * density.records
    assert density.itl_ns < limits.itl_ns < density.itl_by_records_ns


@pytest.mark.parametrize("seed", range(3))
def test_long_prompts_hurt_those_who_have_none(seed: int) -> None:
    """A long prefill shows in stall and in the worst TTFTs; the mean ITL does not show it."""
    scenario = SCENARIOS["long-prompts"]
    run, without = simulate(scenario, seed=seed), simulate(without_long_ones(scenario), seed=seed)
    assert without.ratio == 1.0
    assert 0.2 < run.ratio < 0.6
    assert max(record.itl_ns or 0 for record in run.records) <= run.limits.itl_ns
    late, fine = (Spread.of(record.ttft_ns for record in each.records) for each in (run, without))
    assert late is not None
    assert fine is not None
    assert late.p95_ns > 2 * fine.p95_ns


def without_long_ones(scenario: Scenario) -> Scenario:
    return replace(scenario, workload=replace(scenario.workload, rare=None))


@pytest.mark.parametrize(("users", "good"), [(8, True), (32, True), (64, False), (96, False)])
def test_ramp_breaks_where_the_batch_is_full(users: int, *, good: bool) -> None:
    """Nearly all is good as long as there is a slot for everybody, and nearly nothing after."""
    ratio = simulate(RAMP, users=users).ratio
    assert ratio >= 0.95 if good else ratio < 0.1


def test_flaky_upstream_fails_in_every_way() -> None:
    """All faults have their share, and what is left is good."""
    faults = SCENARIOS["flaky-upstream"].faults
    assert min(faults.internal, faults.refused, faults.truncated, faults.stream_error) > 0.02
    assert simulate(SCENARIOS["flaky-upstream"]).ratio == 1.0
    assert Limits() == SCENARIOS["flaky-upstream"].limits
