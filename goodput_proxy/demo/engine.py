"""An inference engine with continuous batching, reduced to what decides latency.

Owns the prefill queue, the batch and the length of a step. It knows no clock, no asyncio and no
HTTP: the caller begins a step, lets the returned time pass, and ends the step to receive its
tokens. The rule: every running sequence gets exactly one token per step, and a step lasts

    base + per_sequence * batch + prefill_per_token * (prompt tokens admitted in this step)

That is enough to behave as a GPU does under load: each further sequence stretches the step of all
others (ITL), a full batch makes newcomers queue (TTFT), and throughput suffers from neither.
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
    time_scale: float = 1.0
    """Factor on every duration: at 0.1 the same story takes a tenth of the time."""


@dataclass(slots=True, eq=False)
class Sequence:
    """One request inside the engine, from the queue to its last token."""

    prompt_tokens: int
    output_tokens: int
    finish_reason: FinishReason
    produced: int = 0

    @property
    def finished(self) -> bool:
        """Whether the last token has been produced."""
        return self.produced >= self.output_tokens


@dataclass(frozen=True, slots=True)
class Token:
    """One token of one sequence; the last one carries the reason for ending."""

    sequence: Sequence
    index: int
    finish_reason: FinishReason | None


class Engine:
    """First come, first served admission into a batch of bounded size."""

    def __init__(self, profile: Profile, seed: int = 0) -> None:
        self.profile = profile
        self._random = random.Random(seed)  # noqa: S311 -- reproducible on purpose
        # Dictionaries as ordered sets: first in, first out, and a cancelled one leaves in O(1).
        self._waiting: dict[Sequence, None] = {}
        self._running: dict[Sequence, None] = {}

    @property
    def waiting(self) -> int:
        """Sequences in the prefill queue."""
        return len(self._waiting)

    @property
    def running(self) -> int:
        """Sequences in the batch."""
        return len(self._running)

    def submit(self, prompt_tokens: int, max_tokens: int | None = None) -> Sequence:
        """Queue a request; without `max_tokens` it stops by itself after a seeded length."""
        if max_tokens is None:
            length = self._random.randint(*self.profile.output_tokens)
            sequence = Sequence(prompt_tokens, length, "stop")
        else:
            sequence = Sequence(prompt_tokens, max_tokens, "length")
        self._waiting[sequence] = None
        return sequence

    def cancel(self, sequence: Sequence) -> None:
        """Drop a sequence wherever it is; its slot is free at once. Unknown ones are ignored."""
        self._waiting.pop(sequence, None)
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
        jitter = 1 + self._random.uniform(-profile.step_jitter, profile.step_jitter)
        return round(duration_ns * jitter * profile.time_scale)

    def end_step(self) -> list[Token]:
        """Produce one token for every sequence that is still running, in order of admission."""
        tokens = []
        for sequence in list(self._running):
            index = sequence.produced
            sequence.produced += 1
            if sequence.finished:
                del self._running[sequence]
            reason = sequence.finish_reason if sequence.finished else None
            tokens.append(Token(sequence, index, reason))
        return tokens

    def _admit(self) -> int:
        """Move sequences from the queue into free slots; return the prompt tokens to prefill."""
        admitted_tokens = 0
        while self._waiting and len(self._running) < self.profile.max_batch:
            head = next(iter(self._waiting))
            fits = admitted_tokens + head.prompt_tokens <= self.profile.max_prefill_tokens
            if admitted_tokens and not fits:
                break
            del self._waiting[head]
            self._running[head] = None
            admitted_tokens += head.prompt_tokens
        return admitted_tokens
