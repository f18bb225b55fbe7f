"""What a stream says, in the words that the timeline understands.

A dialect turns one record of a server's stream into a few of these events; nothing else
crosses from `stream/` to `timeline`. They are msgspec structs, not dataclasses, because one
is born per token: a frozen struct without garbage-collector tracking costs 0.08 us, a
frozen dataclass ten times that.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TypeAlias

import msgspec

from goodput_proxy.faults import MeterFault

# What is remembered per choice must not grow with what a server invents: of a response with more
# choices some are remembered as if they were one.
MAX_CHOICES = 32


class TokenSource(StrEnum):
    """Where n comes from; the value is the label `source`.

    Above `TOKEN_IDS` stand what servers state of themselves, under the names they use: final
    totals first, then counters that the last record shows. Below stands what was counted here.
    """

    USAGE = "usage"
    DETAILS = "details"  # TGI
    EVAL_COUNT = "eval_count"  # Ollama
    STATS = "stats"  # LM Studio
    META_INFO = "meta_info"  # SGLang, LMDeploy
    TOKENS_PREDICTED = "tokens_predicted"  # llama.cpp
    TIMINGS = "timings"  # llama.cpp, beside OpenAI's shapes
    TOKEN_IDS = "token_ids"  # noqa: S105 -- not that kind of token
    LOGPROBS = "logprobs"
    EVENTS = "events"  # a lower bound: a record may hold several tokens


class TokenEvent(msgspec.Struct, frozen=True, gc=False):
    """A record showed newly generated output of one choice.

    `ids` and `logprobs` are how many tokens the record proves by itself, 0 when it does not
    say. `hidden` marks a closing record whose only evidence is an invisible end token: it
    counts towards n and does not move the time of the last token.
    """

    choice: int = 0
    ids: int = 0
    logprobs: int = 0
    hidden: bool = False


class CounterEvent(msgspec.Struct, frozen=True, gc=False):
    """The server stated how many tokens of one choice exist so far."""

    choice: int
    output_tokens: int
    input_tokens: int | None = None
    source: TokenSource = TokenSource.USAGE


class FinishEvent(msgspec.Struct, frozen=True, gc=False):
    """A choice ended, with the reason as it is spelled on the wire."""

    choice: int
    reason: str


class UsageEvent(msgspec.Struct, frozen=True, gc=False):
    """The server stated a total; None where it left a number out."""

    output_tokens: int | None
    input_tokens: int | None = None
    source: TokenSource = TokenSource.USAGE


class ErrorEvent(msgspec.Struct, frozen=True, gc=False):
    """The server reported a failure inside a response that began well."""

    type: str | None = None
    code: int | str | None = None


class TerminatorEvent(msgspec.Struct, frozen=True, gc=False):
    """The format's own end of stream was seen, such as `[DONE]`."""


class EndsAtCloseEvent(msgspec.Struct, frozen=True, gc=False):
    """The format has no better end than that of the body, so a clean one is the terminator."""


class UnclassifiedEvent(msgspec.Struct, frozen=True, gc=False):
    """Something of the response could not be read."""

    reason: MeterFault


Event: TypeAlias = (
    TokenEvent
    | CounterEvent
    | FinishEvent
    | UsageEvent
    | ErrorEvent
    | TerminatorEvent
    | EndsAtCloseEvent
    | UnclassifiedEvent
)
