"""A load whose verdicts nobody can doubt: no request comes near a limit.

Lengths are mixed, a third of the requests is slow, by one limit each in turn, and some answers come
in chunks of several tokens. The values lie in two bands with a wide gap around each limit, so that
two observers agree on every single request even when one of them is kept waiting for a processor
for a quarter of a second.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from tests.agreement.wire import DONE, FINISH, ROLE, Script, Write, text, usage

TTFT_LIMIT_MS = 600.0
ITL_LIMIT_MS = 60.0
E2E_LIMIT_MS = 3000.0
REQUESTS = 216
SLOW_EVERY = 3  # every third request is slow
CONCURRENCY = 4
_SEED = 20_26


@dataclass(frozen=True, slots=True)
class Plan:
    """What one answer is to look like."""

    index: int
    tokens: int
    chunk_tokens: int
    ttft_ms: float
    itl_ms: float
    slow: str  # the limit that it misses, empty when it is good

    @property
    def prompt(self) -> str:
        """What asks for it."""
        return f"request {self.index}"

    @property
    def e2e_ms(self) -> float:
        """When its last token comes."""
        return self.ttft_ms + self.itl_ms * (self.tokens - 1)

    def script(self) -> Script:
        """Return the answer: a role record half-way to the first token, then even chunks."""
        chunks = self.tokens // self.chunk_tokens
        gap_ms = self.itl_ms * (self.tokens - 1) / max(1, chunks - 1)
        writes = [Write(self.ttft_ms / 2, ROLE)]
        writes += [
            Write(self.ttft_ms + i * gap_ms, text(i, self.chunk_tokens)) for i in range(chunks)
        ]
        tail = FINISH + usage(self.tokens) + DONE
        return Script((*writes, Write(self.e2e_ms + 5, tail)))


def make_plans(requests: int = REQUESTS, seed: int = _SEED) -> tuple[Plan, ...]:
    """Return the plans of a load, the same for the same seed."""
    return tuple(_make_plan(index, random.Random(seed + index)) for index in range(requests))


def _make_plan(index: int, chance: random.Random) -> Plan:
    chunk_tokens = chance.choice((1, 1, 1, 4))
    tokens = chunk_tokens * chance.randint(8 // chunk_tokens, 60 // chunk_tokens)
    ttft_ms = chance.uniform(50, 250)
    itl_ms = chance.uniform(5, 25)
    slow = ""
    if index % SLOW_EVERY == SLOW_EVERY - 1:
        slow = ("ttft", "itl", "e2e")[index // SLOW_EVERY % 3]
    if slow == "ttft":
        ttft_ms = chance.uniform(1000, 1200)
    elif slow == "itl":
        itl_ms = chance.uniform(100, 110)
        tokens = 20  # or it would miss E2E as well
    elif slow == "e2e":
        chunk_tokens, tokens = 1, chance.randint(145, 160)
        itl_ms = chance.uniform(24, 26)
    return Plan(index, tokens, chunk_tokens, ttft_ms, itl_ms, slow)


PLANS = make_plans()
