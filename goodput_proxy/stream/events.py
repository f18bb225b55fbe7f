"""What a stream says, in the words that the timeline understands.

A dialect turns one record of a server's stream into a few of these events; nothing else
crosses from `stream/` to `timeline`. They are msgspec structs, not dataclasses, because one
is born per token: a frozen struct without garbage-collector tracking costs 0.08 us, a
frozen dataclass ten times that.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from goodput_proxy.faults import MeterFault


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


class FinishEvent(msgspec.Struct, frozen=True, gc=False):
    """A choice ended, with the reason as it is spelled on the wire."""

    choice: int
    reason: str


class UsageEvent(msgspec.Struct, frozen=True, gc=False):
    """The server stated a total; None where it left a number out.

    `timings` is true for engine statistics that ride along instead of a usage object.
    """

    output_tokens: int | None
    input_tokens: int | None = None
    timings: bool = False


class ErrorEvent(msgspec.Struct, frozen=True, gc=False):
    """The server reported a failure inside a response that began well."""

    type: str | None = None
    code: int | str | None = None


class TerminatorEvent(msgspec.Struct, frozen=True, gc=False):
    """The format's own end of stream was seen, such as `[DONE]`."""


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
    | UnclassifiedEvent
)
