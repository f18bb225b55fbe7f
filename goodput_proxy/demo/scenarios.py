"""The stories that the demonstration tells: one row each, and no code of its own.

A row says how fast the server is and how it fails, what users ask for and how many they are, what
is promised, and how to look at it. The rule: a story is told by these numbers alone, so that the
same program runs all of them. The numbers were found by running the engine in simulated time
(tests/demo/test_scenarios.py does the same), with all of it small enough for a laptop.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from .engine import Profile
from .faults import Faults
from .records import Limits
from .shapes import MODEL
from .workload import Rare, Workload


@dataclass(frozen=True, slots=True)
class Scenario:
    """One story.

    Args:
        name: as on the command line.
        story: what happens, in a sentence.
        watch: what to look at while it does.
        profile: the simulated accelerator.
        faults: how often the server fails.
        workload: what users ask for.
        users: lowest and highest number of users; where they differ, it rises.
        limits: the promise.
        duration_s: how long the story takes.
        warm_up_s: how long until its numbers are steady; None where they never are.
        interval_s: time between two rows: some ten answers or more.
        level_s: time for each level of a sweep: an answer takes a fraction of it.
    """

    name: str
    story: str
    watch: str
    profile: Profile = field(default_factory=Profile)
    faults: Faults = field(default_factory=Faults)
    workload: Workload = field(default_factory=lambda: Workload(MODEL))
    users: tuple[int, int] = (12, 12)
    limits: Limits = field(default_factory=Limits)
    duration_s: float = 30.0
    warm_up_s: float | None = 5.0
    interval_s: float = 1.0
    level_s: float = 6.0

    def scaled(self, factor: float) -> Scenario:
        """Return the same story in another time: a tenth of it, say, for tests."""
        profile = replace(self.profile, time_scale=self.profile.time_scale * factor)
        return replace(
            self,
            profile=profile,
            limits=self.limits.scaled(factor),
            duration_s=self.duration_s * factor,
            warm_up_s=None if self.warm_up_s is None else self.warm_up_s * factor,
            interval_s=self.interval_s * factor,
            level_s=self.level_s * factor,
        )


RAMP = Scenario(
    name="ramp",
    story="more and more users come to a server that can hold 32 of them",
    watch="throughput stays where it is when goodput falls: no HTTP status tells the two apart",
    users=(4, 96),
    duration_s=60.0,
    warm_up_s=None,
)

SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        RAMP,
        Scenario(
            name="steady",
            story="as many users as the server serves with ease",
            watch="goodput is throughput, second by second",
        ),
        Scenario(
            name="overload",
            story="long answers on a batch that is always full, with three users for each slot;"
            " one request in a hundred may jump the queue",
            watch="every answer is HTTP 200, and nearly every one has waited for many seconds",
            # Eight answers of 149 tokens and steps of 60 ms: 0.9 a second.
            profile=Profile(
                max_batch=9, reserved=1, step_base_ns=20_000_000, step_per_sequence_ns=5_000_000
            ),
            workload=Workload(
                MODEL,
                output_tokens=(114, 184),
                rare=Rare(100, prompt_tokens=(128, 384), output_tokens=(8, 16), urgent=True),
            ),
            users=(24, 24),
            duration_s=120.0,
            warm_up_s=20.0,  # the first eight found free slots; they are answered by then
            interval_s=10.0,
            level_s=30.0,
        ),
        Scenario(
            name="spec-decode",
            story="speculative decoding: up to six tokens at once, and now and then a long pause",
            watch="mean ITL is well within its limit, the longest pause is not; who takes a record"
            " for a token sees three times the true ITL",
            # The time of a step is that of a draft and its check: longer, and less even.
            profile=Profile(
                step_base_ns=90_000_000,
                step_per_sequence_ns=1_000_000,
                step_jitter=0.2,
                tokens_per_step=(1, 6),
                pause_share=0.04,
                pause_ns=250_000_000,
            ),
            workload=Workload(MODEL, output_tokens=(40, 80)),
            limits=Limits(itl_ns=60_000_000, stall_ns=250_000_000),
        ),
        Scenario(
            name="long-prompts",
            story="one prompt in twenty is fifty times as long, and its prefill holds up everybody",
            watch="TTFT and stall suffer, of short prompts too; mean ITL hides it",
            workload=Workload(
                MODEL,
                output_tokens=(24, 48),
                rare=Rare(20, prompt_tokens=(10_000, 16_000), output_tokens=(24, 48)),
            ),
            limits=Limits(stall_ns=250_000_000),
        ),
        Scenario(
            name="flaky-upstream",
            story="the server refuses some requests, and breaks off some that it has begun",
            watch="the causes: half of them hide behind an HTTP 200",
            faults=Faults(internal=0.04, refused=0.04, truncated=0.04, stream_error=0.04),
        ),
    )
}
