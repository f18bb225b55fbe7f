"""What users ask for is seeded, and the rare request has its exact share."""

from __future__ import annotations

from goodput_proxy.demo.workload import Ask, Rare, Workload, choices_of

RARE = Rare(every=10, prompt_tokens=(900, 900), output_tokens=(1, 1), urgent=True)


def asks(workload: Workload, seed: int = 0, user: int = 0) -> list[Ask]:
    choices = choices_of(seed, user)
    return [workload.ask(choices, turn) for turn in range(100)]


def test_lengths_are_within_their_bounds() -> None:
    """Both ends are asked for, and nothing beyond."""
    found = asks(Workload("m", (5, 8), (1, 3)))
    assert {ask.prompt_tokens for ask in found} == {5, 6, 7, 8}
    assert {ask.output_tokens for ask in found} == {1, 2, 3}
    assert not any(ask.urgent for ask in found)


def test_a_user_and_a_seed_make_the_requests() -> None:
    """The same again for the same, another sequence for another user or seed."""
    workload = Workload("m")
    first = asks(workload)
    assert first == asks(workload) != asks(workload, user=1)
    assert first != asks(workload, seed=1)


def test_the_rare_request_comes_once_in_each_round() -> None:
    """Its share is exact, and the first comes in the middle of the first round."""
    found = asks(Workload("m", rare=RARE))
    turns = [turn for turn, ask in enumerate(found) if ask == Ask(900, 1, urgent=True)]
    assert turns == list(range(5, 100, 10))
