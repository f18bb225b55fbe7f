"""What users ask for: how long prompts and answers are, and which request is out of the common.

Pure: the caller brings the randomness. The rule: all but the turn of the rare request depends on
the seed and on the user's number alone, so that a seeded run sends the same requests however the
machine behaves.
"""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ask:
    """One request, before it is put into words."""

    prompt_tokens: int
    output_tokens: int
    urgent: bool = False


@dataclass(frozen=True, slots=True)
class Rare:
    """One request in so many, which is unlike the others: an exact share, and no matter of luck."""

    every: int
    prompt_tokens: tuple[int, int]
    output_tokens: tuple[int, int]
    urgent: bool = False


@dataclass(frozen=True, slots=True)
class Workload:
    """Shortest and longest prompt and answer, in tokens, of the common and of the rare request."""

    model: str
    prompt_tokens: tuple[int, int] = (128, 384)
    output_tokens: tuple[int, int] = (12, 36)
    rare: Rare | None = None

    def ask(self, choices: random.Random, turn: int) -> Ask:
        """Return a user's next request.

        Args:
            choices: the user's own.
            turn: how many requests all users have sent before.
        """
        rare = self.rare
        # In the middle of each round: what comes first is not yet under load.
        if rare is not None and turn % rare.every == rare.every // 2:
            prompt, output = rare.prompt_tokens, rare.output_tokens
            return Ask(choices.randint(*prompt), choices.randint(*output), rare.urgent)
        return Ask(choices.randint(*self.prompt_tokens), choices.randint(*self.output_tokens))


def choices_of(seed: int, user: int) -> random.Random:
    """Return what a user chooses by."""
    return random.Random(f"{seed}/{user}")  # noqa: S311 -- reproducible on purpose
