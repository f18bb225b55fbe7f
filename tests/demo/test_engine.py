"""The engine behaves under load as a GPU does, and does so reproducibly."""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import mean
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goodput_proxy.demo.engine import Engine, Profile, Sequence

if TYPE_CHECKING:
    import random

MS = 1_000_000
EXACT = Profile(
    max_batch=4,
    step_base_ns=10 * MS,
    step_per_sequence_ns=2 * MS,
    prefill_per_token_ns=MS // 10,
    max_prefill_tokens=100,
    step_jitter=0.0,
)


@dataclass(frozen=True, slots=True)
class Measured:
    ttft_ns: int
    itl_ns: float


@dataclass(frozen=True, slots=True)
class Run:
    answers: list[Measured]
    elapsed_ns: int

    @property
    def ttft_ns(self) -> float:
        return mean(answer.ttft_ns for answer in self.answers)

    @property
    def itl_ns(self) -> float:
        return mean(answer.itl_ns for answer in self.answers)

    @property
    def throughput(self) -> float:
        return len(self.answers) / self.elapsed_ns


def closed_loop(profile: Profile, users: int, *, answers: int = 300, seed: int = 0) -> Run:
    """Let so many users ask again and again, in simulated time."""
    engine = Engine(profile, seed)
    clock_ns = 0
    started_ns = {engine.submit(prompt_tokens=20): 0 for _ in range(users)}
    first_ns: dict[Sequence, int] = {}
    done: list[Measured] = []
    while len(done) < answers:
        duration_ns = engine.begin_step()
        assert duration_ns is not None
        assert engine.running <= profile.max_batch
        clock_ns += duration_ns
        for token in engine.end_step():
            first_ns.setdefault(token.sequence, clock_ns)
            if token.finish_reason is not None:
                first = first_ns.pop(token.sequence)
                itl_ns = (clock_ns - first) / (token.end - 1)
                done.append(Measured(first - started_ns.pop(token.sequence), itl_ns))
                started_ns[engine.submit(prompt_tokens=20)] = clock_ns
    return Run(done, clock_ns)


def test_step_lasts_base_plus_batch_plus_prefill() -> None:
    """A step costs its base, its sequences, and the prompts that it admits."""
    engine = Engine(EXACT)
    engine.submit(prompt_tokens=30)
    engine.submit(prompt_tokens=20)
    assert engine.begin_step() == (10 + 2 * 2 + 5) * MS
    engine.end_step()
    assert engine.begin_step() == (10 + 2 * 2) * MS


def test_idle_engine_has_no_step() -> None:
    """With nothing to do there is no step to wait for."""
    engine = Engine(EXACT)
    assert engine.begin_step() is None
    engine.cancel(engine.submit(prompt_tokens=1))
    assert engine.begin_step() is None


def test_one_token_per_sequence_and_step() -> None:
    """The step that admits a sequence gives its first token, the limit its last."""
    engine = Engine(EXACT)
    first, second = engine.submit(1, max_tokens=3), engine.submit(1, max_tokens=2)
    steps = []
    while engine.begin_step() is not None:
        steps.append([(t.sequence, t.index, t.finish_reason) for t in engine.end_step()])
    assert steps == [
        [(first, 0, None), (second, 0, None)],
        [(first, 1, None), (second, 1, "length")],
        [(first, 2, "length")],
    ]


def test_length_without_a_limit_is_seeded_and_stops() -> None:
    """A request without a limit ends by itself, within the profile's lengths."""
    engine = Engine(EXACT, seed=7)
    sequences = [engine.submit(1) for _ in range(50)]
    shortest, longest = EXACT.output_tokens
    assert {sequence.finish_reason for sequence in sequences} == {"stop"}
    assert all(shortest <= sequence.output_tokens <= longest for sequence in sequences)
    assert len({sequence.output_tokens for sequence in sequences}) > 5


def test_admission_is_first_come_first_served() -> None:
    """A full batch makes the others wait in the order in which they came."""
    engine = Engine(replace(EXACT, max_batch=1))
    sequences = [engine.submit(1, max_tokens=1) for _ in range(3)]
    served = []
    while engine.begin_step() is not None:
        served += [token.sequence for token in engine.end_step()]
    assert served == sequences


def test_prefill_budget_spreads_prompts_over_steps() -> None:
    """One step admits no more prompt than its budget; a longer prompt is admitted alone."""
    engine = Engine(EXACT)
    for prompt_tokens in (60, 40, 1, 500):
        engine.submit(prompt_tokens, max_tokens=9)
    batch_sizes = []
    for _ in range(3):
        engine.begin_step()
        batch_sizes.append(engine.running)
        engine.end_step()
    assert batch_sizes == [2, 3, 4]


@pytest.mark.parametrize("steps_before", [0, 1])
def test_cancel_frees_the_slot_at_once(steps_before: int) -> None:
    """Whoever waits takes the slot of a cancelled sequence in the very next step."""
    engine = Engine(replace(EXACT, max_batch=1))
    leaver, next_one = engine.submit(1, max_tokens=50), engine.submit(1, max_tokens=1)
    for _ in range(steps_before):
        engine.begin_step()
        engine.end_step()
    engine.cancel(leaver)
    assert engine.running == 0
    engine.begin_step()
    assert [token.sequence for token in engine.end_step()] == [next_one]


def test_cancelled_within_a_step_gets_no_token() -> None:
    """What leaves while a step runs is not there when it ends; to leave twice is harmless."""
    engine = Engine(EXACT)
    leaver, stayer = engine.submit(1, max_tokens=2), engine.submit(1, max_tokens=2)
    engine.begin_step()
    engine.cancel(leaver)
    engine.cancel(leaver)
    assert [token.sequence for token in engine.end_step()] == [stayer]


@given(st.lists(st.sampled_from(["submit", "cancel", "step"]), max_size=200), st.randoms())
def test_batch_limit_is_never_exceeded(actions: list[str], choices: random.Random) -> None:
    """Whatever comes and goes, no more sequences run than the batch holds, and none is lost."""
    engine = Engine(EXACT)
    alive: list[Sequence] = []
    for action in actions:
        if action == "submit":
            alive.append(engine.submit(1, max_tokens=2))
        elif action == "cancel" and alive:
            engine.cancel(alive.pop(choices.randrange(len(alive))))
        elif action == "step" and engine.begin_step() is not None:
            assert engine.running <= EXACT.max_batch
            engine.end_step()
            alive = [sequence for sequence in alive if not sequence.finished]
        assert engine.running + engine.waiting == len(alive)


def test_load_stretches_latencies_but_keeps_throughput() -> None:
    """More users: ITL grows up to the batch limit, TTFT without end, throughput never falls."""
    profile = Profile()
    runs = {users: closed_loop(profile, users) for users in (2, 16, 32, 64, 96)}
    assert runs[2].itl_ns < runs[16].itl_ns < runs[32].itl_ns
    assert runs[96].itl_ns == pytest.approx(runs[32].itl_ns, rel=0.1)
    assert runs[2].ttft_ns < runs[16].ttft_ns < runs[32].ttft_ns
    assert runs[64].ttft_ns > 5 * runs[32].ttft_ns
    assert runs[96].ttft_ns > 1.7 * runs[64].ttft_ns
    assert runs[32].throughput > 2 * runs[2].throughput
    assert runs[96].throughput > 0.95 * runs[32].throughput


def test_a_step_may_give_several_tokens() -> None:
    """Speculative decoding: as many as were accepted, and never more than the answer has."""
    engine = Engine(replace(EXACT, tokens_per_step=(2, 3)), seed=1)
    engine.submit(1, max_tokens=100)
    outputs = []
    while engine.begin_step() is not None:
        outputs += engine.end_step()
    assert {output.count for output in outputs[:-1]} == {2, 3}
    assert [output.index for output in outputs[1:]] == [output.end for output in outputs[:-1]]
    assert outputs[-1].end == 100
    assert [output.finish_reason for output in outputs[-2:]] == [None, "length"]


def test_some_steps_take_longer() -> None:
    """The share of steps with a pause is that of the profile."""
    engine = Engine(replace(EXACT, pause_share=0.25, pause_ns=500 * MS))
    engine.submit(1, max_tokens=1000)
    durations = []
    while (duration_ns := engine.begin_step()) is not None:
        durations.append(duration_ns)
        engine.end_step()
    assert {duration // (400 * MS) for duration in durations} == {0, 1}
    assert sum(duration > 400 * MS for duration in durations) == pytest.approx(250, abs=50)


def test_urgent_requests_go_first_and_have_slots_of_their_own() -> None:
    """They jump the queue, and find a free slot where all the others are taken."""
    engine = Engine(replace(EXACT, max_batch=3, reserved=1))
    for _ in range(4):
        engine.submit(1, max_tokens=9)
    engine.begin_step()
    engine.end_step()
    assert (engine.running, engine.waiting) == (2, 2)
    first, second = engine.submit(1, 5, urgent=True), engine.submit(1, 1, urgent=True)
    assert engine.waiting == 4
    engine.begin_step()
    assert [output.sequence for output in engine.end_step()][-1] is first
    assert (engine.running, engine.waiting) == (3, 3)
    engine.cancel(first)
    engine.begin_step()
    assert [output.sequence for output in engine.end_step()][-1] is second
    engine.cancel(engine.submit(1, urgent=True))
    assert engine.waiting == 2


def test_default_limits_hold_until_the_batch_is_full() -> None:
    """With the default profile an SLO of 500 ms and 100 ms breaks by queueing alone."""
    full, overfull = closed_loop(Profile(), 32), closed_loop(Profile(), 64)
    assert max(answer.itl_ns for answer in overfull.answers) < 100 * MS
    assert sum(answer.ttft_ns <= 500 * MS for answer in full.answers) > 0.95 * len(full.answers)
    assert sum(answer.ttft_ns <= 500 * MS for answer in overfull.answers) < 50


def test_same_seed_same_run() -> None:
    """A seeded run repeats itself exactly; another seed gives another."""
    runs = [closed_loop(Profile(), 40, seed=seed) for seed in (3, 3, 4)]
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]


def test_time_scale_scales_every_duration() -> None:
    """At a tenth of the time the same decisions are taken, ten times as fast."""
    whole = closed_loop(Profile(), 40)
    tenth = closed_loop(Profile(time_scale=0.1), 40)
    assert tenth.elapsed_ns == pytest.approx(whole.elapsed_ns / 10, rel=1e-5)
    assert tenth.ttft_ns == pytest.approx(whole.ttft_ns / 10, rel=1e-5)
