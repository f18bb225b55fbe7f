"""What a request's own headers say of its SLO, where the settings allow that.

  x-slo-ttft-ms   its limit of TTFT in milliseconds, instead of its class's
  x-slo-tpot-ms   its limit of ITL, which others call TPOT
  x-slo-class     the name of the class that it belongs to, whatever the classes match

The first two are those of llm-d's router, of the Gateway API Inference Extension and of
inference-perf. The headers are the client's to choose: a value that is unusable is counted by why,
and then it is as if the header were absent. None of them becomes a label; a class keeps its name
and its objective, and `goodput_slo_threshold_seconds` tells the class's own limits.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from .duration import Duration
from .faults import SloHeaderFault

if TYPE_CHECKING:
    from .heads import Headers
    from .slo import Limits

TTFT_HEADER: Final = b"x-slo-ttft-ms"
ITL_HEADER: Final = b"x-slo-tpot-ms"
CLASS_HEADER: Final = b"x-slo-class"
_ALL: Final = frozenset((TTFT_HEADER, ITL_HEADER, CLASS_HEADER))


@dataclass(frozen=True, slots=True)
class OverrideRules:
    """What requests may choose for themselves."""

    bounds_ns: tuple[int, int] | None = None  # of limits, both included; None: no limits
    classes: frozenset[str] = frozenset()  # that may be named; empty: none may


@dataclass(frozen=True, slots=True)
class Overrides:
    """What one request has chosen."""

    slo_class: str = ""  # empty: whichever matches
    ttft_ns: int | None = None
    itl_ns: int | None = None
    faults: tuple[SloHeaderFault, ...] = ()

    def apply(self, limits: Limits) -> Limits:
        """Return the limits of a class as they are for this request."""
        if self.ttft_ns is not None:
            limits = replace(limits, ttft_ns=self.ttft_ns)
        if self.itl_ns is not None:
            limits = replace(limits, itl_ns=self.itl_ns)
        return limits


NO_OVERRIDES: Final = Overrides()


def read_overrides(headers: Headers, rules: OverrideRules) -> Overrides:
    """Return what a request has chosen, and what is wrong with the rest."""
    found: dict[bytes, set[bytes]] = {}
    for key, value in headers:
        if (name := key.lower()) in _ALL:
            # What stands twice may have been joined by an intermediary (RFC 9110, 5.3).
            found.setdefault(name, set()).update(part.strip() for part in value.split(b","))
    if not found:
        return NO_OVERRIDES
    faults: list[SloHeaderFault] = []
    ttft_ns = itl_ns = None
    slo_class = ""
    if rules.bounds_ns is not None:
        ttft_ns = _read_limit(found.get(TTFT_HEADER), rules.bounds_ns, faults)
        itl_ns = _read_limit(found.get(ITL_HEADER), rules.bounds_ns, faults)
    if rules.classes:
        slo_class = _read_class(found.get(CLASS_HEADER), rules.classes, faults)
    return Overrides(slo_class, ttft_ns, itl_ns, tuple(faults))


def _read_limit(
    values: set[bytes] | None, bounds_ns: tuple[int, int], faults: list[SloHeaderFault]
) -> int | None:
    text = _only(values, faults)
    if text is None:
        return None
    try:
        limit_ns = Duration.parse(f"{text}ms")
    except ValueError:
        faults.append(SloHeaderFault.NOT_A_NUMBER)
        return None
    if bounds_ns[0] <= limit_ns <= bounds_ns[1]:
        return int(limit_ns)
    faults.append(SloHeaderFault.OUT_OF_BOUNDS)
    return None


def _read_class(
    values: set[bytes] | None, classes: frozenset[str], faults: list[SloHeaderFault]
) -> str:
    name = _only(values, faults)
    if name is None or name in classes:
        return name or ""
    faults.append(SloHeaderFault.UNKNOWN_CLASS)
    return ""


def _only(values: set[bytes] | None, faults: list[SloHeaderFault]) -> str | None:
    """Return the one value of a header, None when it is absent or says two things at once."""
    if not values:
        return None
    if len(values) > 1:
        faults.append(SloHeaderFault.CONFLICTING)
        return None
    return next(iter(values)).decode("latin-1")
