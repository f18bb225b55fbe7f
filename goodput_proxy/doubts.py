"""What a policy says and can hardly mean, for `goodput-proxy check`.

None of it is an error: the proxy does what is written. A class that takes nothing, or a limit
that decides nothing, is seldom written on purpose.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .duration import Duration
from .policy import DEFAULT_CLASS, PATH
from .slo import Dimension

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .policy import Condition, Match, Policy, SloClass

# Of each pair the first is a part of the second in every request, or a mean of what the second is
# the largest of.
_ABOVE = (
    (Dimension.ITL, Dimension.STALL),
    (Dimension.TTFT, Dimension.E2E),
    (Dimension.STALL, Dimension.E2E),
)
_PATHS_BEGIN_WITH = ("/", "*", "?", "[")


def find_doubts(policy: Policy) -> list[str]:
    """Return one line each, with the field that it concerns."""
    lines: list[str] = []
    for number, slo in enumerate(policy.classes):
        field = "slo" if slo.name == DEFAULT_CLASS else f"slo_classes.{number}"
        lines += _doubt_limits(field, slo)
        lines += _doubt_path(field, slo)
        # `default` takes what is left, be it nothing; a class that can be named need not match.
        if slo.name != DEFAULT_CLASS and not (policy.rules and policy.rules.classes):
            lines += _doubt_match(field, slo, policy.classes[:number])
    return lines


def _doubt_limits(field: str, slo: SloClass) -> Iterator[str]:
    limits = {dimension: Duration(ns) for dimension, ns in slo.limits.items()}
    for one, other in _ABOVE:
        if one in limits and other in limits and limits[one] > limits[other]:
            yield f"{field}.{one}: {limits[one]} is never missed alone: {other} is {limits[other]}"


def _doubt_path(field: str, slo: SloClass) -> Iterator[str]:
    path = slo.match.on(PATH)
    if path is not None and not path.glob.startswith(_PATHS_BEGIN_WITH):
        yield f"{field}.match.path: {path.glob!r} takes nothing: paths begin with a slash"


def _doubt_match(field: str, slo: SloClass, before: tuple[SloClass, ...]) -> Iterator[str]:
    for earlier in before:
        if _globs(earlier.match) == _globs(slo.match):
            yield f"{field}: {slo.name} takes nothing: {earlier.name} has the same match"
            return
    for earlier in before:
        if _takes_all_of(earlier.match, slo.match):
            yield f"{field}: {slo.name} takes nothing: {earlier.name} takes all of it before"
            return


def _globs(match: Match) -> set[tuple[str, str]]:
    return {(c.subject, c.glob) for c in match.conditions}


def _takes_all_of(earlier: Match, later: Match) -> bool:
    """Return whether it can be told that what the later takes, the earlier takes, too."""
    return all(
        wide.glob == "*" or any(_implies(narrow, wide) for narrow in later.conditions)
        for wide in earlier.conditions
    )


def _implies(narrow: Condition, wide: Condition) -> bool:
    if narrow.subject != wide.subject:
        return False
    return narrow.glob == wide.glob or (narrow.literal and wide.accepts(narrow.glob))
