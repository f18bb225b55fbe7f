"""The load of the comparison leaves no room for doubt."""

from __future__ import annotations

from tests.agreement.load import (
    E2E_LIMIT_MS,
    ITL_LIMIT_MS,
    PLANS,
    TTFT_LIMIT_MS,
    make_plans,
)


def test_a_third_is_slow_by_exactly_the_limit_that_the_plan_names() -> None:
    """Whoever judges the plan by the limits comes to what the plan says of itself."""
    for plan in PLANS:
        missed = [
            name
            for name, value, limit in (
                ("ttft", plan.ttft_ms, TTFT_LIMIT_MS),
                ("itl", plan.itl_ms, ITL_LIMIT_MS),
                ("e2e", plan.e2e_ms, E2E_LIMIT_MS),
            )
            if value > limit
        ]
        assert missed == ([plan.slow] if plan.slow else [])
    assert len(PLANS) >= 200
    assert sum(bool(plan.slow) for plan in PLANS) * 3 == len(PLANS)
    assert {plan.slow for plan in PLANS} == {"", "ttft", "itl", "e2e"}


def test_values_keep_away_from_limits() -> None:
    """A wait of a tenth of a second, wherever it falls, changes no verdict."""
    for plan in PLANS:
        assert abs(plan.ttft_ms - TTFT_LIMIT_MS) > 100
        assert abs(plan.itl_ms - ITL_LIMIT_MS) * (plan.tokens - 1) > 100
        assert abs(plan.e2e_ms - E2E_LIMIT_MS) > 100


def test_scripts_hold_what_the_plan_says() -> None:
    """First and last token come when planned, and the tokens of all records add up to n."""
    for plan in PLANS:
        words = [(write.at_ms, write.data.count(b" w")) for write in plan.script().writes]
        tokens = [(at_ms, count) for at_ms, count in words if count]

        assert sum(count for _, count in tokens) == plan.tokens
        assert tokens[0][0] == plan.ttft_ms
        assert abs(tokens[-1][0] - plan.e2e_ms) < 1e-6


def test_the_same_seed_gives_the_same_load() -> None:
    """A disagreement can be looked at again."""
    assert make_plans() == PLANS
    assert make_plans(seed=1) != PLANS
