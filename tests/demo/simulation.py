"""A scenario in simulated time: the engine and its users without a network, a clock or a proxy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from goodput_proxy.demo.engine import Engine, Sequence
from goodput_proxy.demo.records import ClientRecord, Limits
from goodput_proxy.demo.workload import choices_of

if TYPE_CHECKING:
    from goodput_proxy.demo.scenarios import Scenario


@dataclass(frozen=True, slots=True)
class Simulated:
    """What was answered between the warm-up and the end."""

    records: list[ClientRecord]
    seconds: float
    limits: Limits

    @property
    def throughput_rps(self) -> float:
        return len(self.records) / self.seconds

    @property
    def goodput_rps(self) -> float:
        return sum(record.meets(self.limits) for record in self.records) / self.seconds

    @property
    def ratio(self) -> float:
        return self.goodput_rps / self.throughput_rps


class User:
    """Asks again as soon as the last answer is complete."""

    def __init__(self, number: int, seed: int) -> None:
        self.choices = choices_of(seed, number)
        self.sequence: Sequence
        self.start_ns = 0
        self.times_ns: list[int] = []


def simulate(
    scenario: Scenario, *, users: int | None = None, seconds: float | None = None, seed: int = 0
) -> Simulated:
    """Let the users of a scenario come, all of them at once."""
    engine = Engine(scenario.profile, seed)
    clock_ns = turn = 0
    asking = [User(number, seed) for number in range(users or scenario.users[1])]
    waiting: dict[Sequence, User] = {}
    records: list[ClientRecord] = []
    end_s = seconds or scenario.duration_s
    warm_up_s = scenario.warm_up_s or 0.0
    while clock_ns < end_s * 1e9:
        # Whoever has been answered at the end of a step is too late for the next.
        late, asking = asking, []
        duration_ns = engine.begin_step() or 0
        for user in late:
            ask = scenario.workload.ask(user.choices, turn)
            turn += 1
            user.start_ns, user.times_ns = clock_ns, []
            prompt_tokens = ask.prompt_tokens + 1
            sequence = engine.submit(prompt_tokens, ask.output_tokens, urgent=ask.urgent)
            waiting[sequence] = user
        clock_ns += duration_ns
        for output in engine.end_step() if duration_ns else []:
            user = waiting[output.sequence]
            user.times_ns.append(clock_ns)
            if output.finish_reason is not None:
                if clock_ns >= warm_up_s * 1e9:
                    records.append(measure(user, output.end))
                asking.append(waiting.pop(output.sequence))
    return Simulated(records, end_s - warm_up_s, scenario.limits)


def measure(user: User, tokens: int) -> ClientRecord:
    """Return what a client would have measured."""
    first_ns, last_ns = user.times_ns[0], user.times_ns[-1]
    gaps_ns = [b - a for a, b in zip(user.times_ns, user.times_ns[1:], strict=False)]
    return ClientRecord(
        start_ns=user.start_ns,
        ttft_ns=first_ns - user.start_ns,
        itl_ns=(last_ns - first_ns) / (tokens - 1) if tokens > 1 else None,
        e2e_ns=last_ns - user.start_ns,
        output_tokens=tokens,
        status=200,
        ok=True,
        stall_ns=max(gaps_ns, default=None),
        content_records=len(user.times_ns),
    )
