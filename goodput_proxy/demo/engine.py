"""An inference engine with continuous batching, reduced to what decides latency.

Owns the prefill queue, the batch and the length of a step. It knows no clock, no asyncio and no
HTTP: the caller begins a step, lets the returned time pass, and ends the step to receive its
tokens. The rule: every running sequence gets its tokens in every step, one or, with speculative
decoding, as many as were accepted; and a step lasts

    base + per_sequence * batch + prefill_per_token * (prompt tokens admitted in this step) + pause

That is enough to behave as a GPU does under load: each further sequence stretches the step of all
others (ITL), a full batch makes newcomers queue (TTFT), a long prompt holds up everyone (stall),
and throughput suffers from none of them.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal

FinishReason = Literal["stop", "length"]


@dataclass(frozen=True, slots=True)
class Profile:
    """How fast the simulated accelerator is, and how many sequences it holds at once.

    The defaults saturate at 32 sequences with steps of about 75 ms: some 420 tokens or 17 answers
    per second, slow enough for a laptop to serve, proxy and measure all of it without noise.
    """

    max_batch: int = 32
    step_base_ns: int = 15_000_000
    step_per_sequence_ns: int = 1_500_000
    prefill_per_token_ns: int = 40_000
    max_prefill_tokens: int = 2_048
    """Prompt tokens that one step admits at most; a longer prompt is admitted alone."""
    output_tokens: tuple[int, int] = (12, 36)
    """Shortest and longest answer of a request that sets no limit of its own."""
    step_jitter: float = 0.05
    """Largest deviation of a step from its computed length, as a fraction."""
    tokens_per_step: tuple[int, int] = (1, 1)
    """Fewest and most tokens of a sequence in a step; several are an accepted draft."""
    pause_share: float = 0.0
    """How many of all steps take `pause_ns` longer: a draft that has to be made anew, say."""
    pause_ns: int = 0
    reserved: int = 0
    """Slots of the batch that only urgent requests may take."""
    time_scale: float = 1.0
    """Factor on every duration: at 0.1 the same story takes a tenth of the time."""


@dataclass(slots=True, eq=False)
class Sequence:
    """One request inside the engine, from the queue to its last token."""

    prompt_tokens: int
    output_tokens: int
    finish_reason: FinishReason
    urgent: bool = False
    produced: int = 0

    @property
    def finished(self) -> bool:
        """Whether the last token has been produced."""
        return self.produced >= self.output_tokens


@dataclass(frozen=True, slots=True)
class Output:
    """What a step gave to one sequence: a token or several, and at the end the reason for it."""

    sequence: Sequence
    index: int
    """The place of its first token in the answer."""
    count: int
    finish_reason: FinishReason | None

    @property
    def end(self) -> int:
        """Tokens of the answer so far."""
        return self.index + self.count


class Engine:
    """First come, first served admission into a batch of bounded size."""

    def __init__(self, profile: Profile, seed: int = 0) -> None:
        self.profile = profile
        self._random = random.Random(seed)  # noqa: S311 -- reproducible on purpose
        # Dictionaries as ordered sets: first in, first out, and a cancelled one leaves in O(1).
        self._waiting: dict[Sequence, None] = {}
        self._urgent: dict[Sequence, None] = {}
        self._running: dict[Sequence, None] = {}

    @property
    def waiting(self) -> int:
        """Sequences in the prefill queue."""
        return len(self._waiting) + len(self._urgent)

    @property
    def running(self) -> int:
        """Sequences in the batch."""
        return len(self._running)

    def submit(
        self, prompt_tokens: int, max_tokens: int | None = None, *, urgent: bool = False
    ) -> Sequence:
        """Queue a request; without `max_tokens` it stops by itself after a seeded length."""
        if max_tokens is None:
            length = self._random.randint(*self.profile.output_tokens)
            sequence = Sequence(prompt_tokens, length, "stop", urgent)
        else:
            sequence = Sequence(prompt_tokens, max_tokens, "length", urgent)
        queue = self._urgent if urgent else self._waiting
        queue[sequence] = None
        return sequence

    def cancel(self, sequence: Sequence) -> None:
        """Drop a sequence wherever it is; its slot is free at once. Unknown ones are ignored."""
        self._waiting.pop(sequence, None)
        self._urgent.pop(sequence, None)
        self._running.pop(sequence, None)

    def begin_step(self) -> int | None:
        """Admit from the queue and return how many nanoseconds the step lasts, None when idle."""
        prefill_tokens = self._admit()
        if not self._running:
            return None
        profile = self.profile
        duration_ns = (
            profile.step_base_ns
            + profile.step_per_sequence_ns * len(self._running)
            + profile.prefill_per_token_ns * prefill_tokens
        )
        if profile.pause_share and self._random.random() < profile.pause_share:
            duration_ns += profile.pause_ns
        jitter = 1 + self._random.uniform(-profile.step_jitter, profile.step_jitter)
        return round(duration_ns * jitter * profile.time_scale)

    def end_step(self) -> list[Output]:
        """Produce tokens for every sequence that is still running, in order of admission."""
        outputs = []
        for sequence in list(self._running):
            index = sequence.produced
            count = min(self._accepted(), sequence.output_tokens - index)
            sequence.produced += count
            if sequence.finished:
                del self._running[sequence]
            reason = sequence.finish_reason if sequence.finished else None
            outputs.append(Output(sequence, index, count, reason))
        return outputs

    def _accepted(self) -> int:
        """Return how many tokens a sequence gets in this step."""
        fewest, most = self.profile.tokens_per_step
        return fewest if fewest == most else self._random.randint(fewest, most)

    def _admit(self) -> int:
        """Move sequences from the queue into free slots; return the prompt tokens to prefill."""
        admitted_tokens = 0
        while queue := self._urgent or self._waiting:
            head = next(iter(queue))
            kept_free = 0 if head.urgent else self.profile.reserved
            if len(self._running) >= self.profile.max_batch - kept_free:
                break
            fits = admitted_tokens + head.prompt_tokens <= self.profile.max_prefill_tokens
            if admitted_tokens and not fits:
                break
            del queue[head]
            self._running[head] = None
            admitted_tokens += head.prompt_tokens
        return admitted_tokens
