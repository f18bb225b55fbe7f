"""Which promise a request falls under, and whether it was kept.

Pure: a record and limits in, one verdict out. Comparison is `<=`, as in every benchmark of
the field. Each inference request gets exactly one verdict:

  good          ended well, every limit of its class met
  good_partial  ended well, what could be computed was met, and at least one limit could not
                be computed (ITL with one token, TTFT of an answer that is not streamed)
  slow          ended well but missed a limit; or its client left after one was missed, for
                else abandoning late requests would raise goodput (arXiv 2410.14257)
  error         the server's fault
  client_error  any other 4xx; or the proxy has lost patience with an upload
  cancelled     the client left before any limit was missed

goodput = rate of good and good_partial; its ratio is taken over these two, slow and error.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import translate
from typing import TYPE_CHECKING

import msgspec

from .heads import Headers, find_header
from .record import Outcome, RequestRecord

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .settings import MatchSettings, Settings

DEFAULT_CLASS = "default"


class Verdict(StrEnum):
    """The judgement of one request; the value is the label `verdict`."""

    GOOD = "good"
    GOOD_PARTIAL = "good_partial"
    SLOW = "slow"
    ERROR = "error"
    CLIENT_ERROR = "client_error"
    CANCELLED = "cancelled"


class Dimension(StrEnum):
    """What a limit bounds; the order is that in which the first miss becomes the cause."""

    TTFT = "ttft"
    STALL = "stall"
    ITL = "itl"
    E2E = "e2e"


@dataclass(frozen=True, slots=True)
class Limits:
    """The promise of a class; None where nothing is promised."""

    ttft_ns: int | None = None
    itl_ns: int | None = None
    stall_ns: int | None = None
    e2e_ns: int | None = None

    def items(self) -> Iterable[tuple[Dimension, int]]:
        """Return the limits that are set, in the order of `Dimension`."""
        values = (self.ttft_ns, self.stall_ns, self.itl_ns, self.e2e_ns)
        return [(d, v) for d, v in zip(Dimension, values, strict=True) if v is not None]


@dataclass(frozen=True, slots=True)
class Match:
    """What a request must look like to belong to a class; an empty match takes everything."""

    model: re.Pattern[str] | None = None
    path: re.Pattern[str] | None = None
    headers: tuple[tuple[bytes, re.Pattern[str]], ...] = ()  # by lower-case name

    def accepts(self, model: str, path: str, headers: Headers) -> bool:
        """Return whether a request fits."""
        if self.model is not None and not self.model.match(model):
            return False
        if self.path is not None and not self.path.match(path):
            return False
        return all(
            pattern.match(find_header(headers, name).decode("latin-1"))
            for name, pattern in self.headers
        )


@dataclass(frozen=True, slots=True)
class SloClass:
    """A named promise and the share of requests that it is made for."""

    name: str
    limits: Limits
    objective: float
    match: Match = Match()


@dataclass(frozen=True, slots=True)
class Policy:
    """All classes, in the order in which they are tried; the last takes everything."""

    classes: tuple[SloClass, ...]
    pinned_models: tuple[str, ...] = ()  # models that a class names without a glob

    def names(self, path: str) -> bool:
        """Return whether a class is meant for this path and says so."""
        return any(c.match.path is not None and c.match.path.match(path) for c in self.classes)

    def find(self, model: str, path: str, headers: Headers) -> SloClass:
        """Return the first class that a request fits."""
        for slo in self.classes[:-1]:
            if slo.match.accepts(model, path, headers):
                return slo
        return self.classes[-1]


class Judgement(msgspec.Struct, frozen=True, gc=False):
    """A verdict with its reasons."""

    verdict: Verdict
    cause: str = ""  # an Outcome or a Dimension; empty for a good request
    missed: tuple[Dimension, ...] = ()

    @property
    def compliant(self) -> bool:
        """Whether the request counts as goodput."""
        return self.verdict in {Verdict.GOOD, Verdict.GOOD_PARTIAL}


def judge(record: RequestRecord, limits: Limits) -> Judgement:
    """Return the one verdict of a request that has ended."""
    if record.outcome is Outcome.HTTP_4XX:
        return Judgement(Verdict.CLIENT_ERROR, Outcome.HTTP_4XX)
    if record.outcome is not Outcome.OK and record.outcome is not Outcome.CLIENT:
        return Judgement(Verdict.ERROR, record.outcome)
    left = record.outcome is Outcome.CLIENT
    values = _values_so_far(record) if left else _values(record)
    partial = False
    missed: list[Dimension] = []
    for dimension, limit_ns in limits.items():
        value_ns = values[dimension]
        if value_ns is None:
            partial = True
        elif value_ns > limit_ns:
            missed.append(dimension)
    if missed:
        return Judgement(Verdict.SLOW, missed[0], tuple(missed))
    if left:
        return Judgement(Verdict.CANCELLED, Outcome.CLIENT)
    return Judgement(Verdict.GOOD_PARTIAL if partial else Verdict.GOOD)


def _values(record: RequestRecord) -> dict[Dimension, int | None]:
    return {
        Dimension.TTFT: record.ttft_ns,
        Dimension.STALL: record.stall_ns,
        Dimension.ITL: record.itl_ns,
        Dimension.E2E: record.e2e_ns,
    }


def _values_so_far(record: RequestRecord) -> dict[Dimension, int | None]:
    """Return what a request that is still running has used up of its limits."""
    values = _values(record)
    values[Dimension.E2E] = record.elapsed_ns
    if record.awaits_token:
        values[Dimension.TTFT] = record.elapsed_ns
    elif record.ttft_ns is not None:
        values[Dimension.STALL] = max(record.stall_ns or 0, record.waiting_ns)
    return values


def build_policy(settings: Settings) -> Policy:
    """Return the policy that the settings describe: the classes in order, `default` last."""
    classes = [
        SloClass(c.name, c.limits(), c.objective, _build_match(c.match))
        for c in settings.slo_classes
    ]
    classes.append(SloClass(DEFAULT_CLASS, settings.slo.limits(), settings.slo.objective))
    models = (c.match.model for c in settings.slo_classes)
    pinned = tuple(m for m in models if m and not any(char in m for char in "*?["))
    return Policy(tuple(classes), pinned)


def _build_match(match: MatchSettings) -> Match:
    return Match(
        model=_compile(match.model),
        path=_compile(match.path),
        headers=tuple(
            (name.lower().encode("latin-1"), re.compile(translate(glob)))
            for name, glob in match.headers.items()
        ),
    )


def _compile(glob: str | None) -> re.Pattern[str] | None:
    return re.compile(translate(glob)) if glob else None
