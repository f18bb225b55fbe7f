"""Which promise a request falls under.

Pure: what a request looks like in, its class out. Classes are tried in order, `default` last. A
policy is never changed: whoever took one with a request judges that request by it, whatever
settings have been loaded since.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from fnmatch import translate
from typing import TYPE_CHECKING

from .heads import Headers, find_header
from .overrides import NO_OVERRIDES, OverrideRules, Overrides, read_overrides

if TYPE_CHECKING:
    from .settings import MatchSettings, Settings, SloHeaderSettings
    from .slo import Limits

DEFAULT_CLASS = "default"

MODEL, PATH = "model", "path"  # what a header's name cannot be: that has a prefix
_GLOB_CHARS = frozenset("*?[")


@dataclass(frozen=True, slots=True)
class Condition:
    """One glob on one thing that a request has."""

    subject: str  # MODEL, PATH, or `header` and its lower-case name
    glob: str
    pattern: re.Pattern[str]
    header: bytes = b""  # empty for MODEL and PATH

    def value(self, model: str, path: str, headers: Headers) -> str:
        """Return what the glob is held against; a header that is absent counts as empty."""
        if self.header:
            return find_header(headers, self.header).decode("utf-8", "surrogateescape")
        return model if self.subject == MODEL else path

    def accepts(self, value: str) -> bool:
        """Return whether a value fits."""
        return self.pattern.match(value) is not None

    @property
    def literal(self) -> bool:
        """Whether exactly one value fits, the glob itself."""
        return _GLOB_CHARS.isdisjoint(self.glob)


@dataclass(frozen=True, slots=True)
class Match:
    """What a request must look like to belong to a class; an empty match takes everything."""

    conditions: tuple[Condition, ...] = ()

    def accepts(self, model: str, path: str, headers: Headers) -> bool:
        """Return whether a request fits."""
        return all(c.accepts(c.value(model, path, headers)) for c in self.conditions)

    def on(self, subject: str) -> Condition | None:
        """Return the condition on the model or the path."""
        return next((c for c in self.conditions if c.subject == subject), None)


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
    rules: OverrideRules | None = None  # None: requests choose nothing for themselves

    def names(self, path: str) -> bool:
        """Return whether a class is meant for this path and says so."""
        conditions = (c.match.on(PATH) for c in self.classes)
        return any(c is not None and c.accepts(path) for c in conditions)

    def read_overrides(self, headers: Headers) -> Overrides:
        """Return what a request has chosen for itself."""
        return NO_OVERRIDES if self.rules is None else read_overrides(headers, self.rules)

    def find(
        self, model: str, path: str, headers: Headers, overrides: Overrides = NO_OVERRIDES
    ) -> SloClass:
        """Return the class of a request, with the limits that it has for this request."""
        slo = self._choose(model, path, headers, overrides.slo_class)
        limits = overrides.apply(slo.limits)
        return slo if limits is slo.limits else replace(slo, limits=limits)

    def _choose(self, model: str, path: str, headers: Headers, named: str) -> SloClass:
        for slo in self.classes[:-1]:
            if slo.name == named or (not named and slo.match.accepts(model, path, headers)):
                return slo
        return self.classes[-1]


def build_policy(settings: Settings) -> Policy:
    """Return the policy that the settings describe: the classes in order, `default` last."""
    classes = [
        SloClass(c.name, c.limits(), c.objective, _build_match(c.match))
        for c in settings.slo_classes
    ]
    classes.append(SloClass(DEFAULT_CLASS, settings.slo.limits(), settings.slo.objective))
    models = (c.match.on(MODEL) for c in classes)
    pinned = tuple(m.glob for m in models if m is not None and m.literal)
    names = frozenset(c.name for c in classes)
    return Policy(tuple(classes), pinned, _build_rules(settings.slo_headers, names))


def _build_match(match: MatchSettings) -> Match:
    conditions = [
        Condition(subject, glob, re.compile(translate(glob)))
        for subject, glob in ((MODEL, match.model), (PATH, match.path))
        if glob
    ]
    conditions += [
        Condition(f"header {name}", glob, re.compile(translate(glob)), name.encode("latin-1"))
        for name, glob in ((key.lower(), glob) for key, glob in match.headers.items())
    ]
    return Match(tuple(conditions))


def _build_rules(settings: SloHeaderSettings, names: frozenset[str]) -> OverrideRules | None:
    if not (settings.limits or settings.classes):
        return None
    bounds_ns = (int(settings.smallest), int(settings.largest)) if settings.limits else None
    return OverrideRules(bounds_ns, names if settings.classes else frozenset())
