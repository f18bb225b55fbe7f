r"""Which class one request would fall in, and why: `goodput-proxy check --request`.

A request is written as `KEY=VALUE,...` with the keys `method`, `path`, `model` and, as often as
wanted, `header` (as NAME:VALUE). A comma divides only in front of one of these keys and `=`, so
that commas in values need no care; `\\,` is a comma that never divides.

Only what the running proxy itself asks is asked here: the policy, the classification of paths, the
check of a head. What stands in a body beside the model is not known, and may set a request aside.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import parse_qs

from .classify import UNKNOWN_MODEL, Passthrough, Route, as_model, classify
from .duration import Duration
from .heads import Headers, Refusal, check_request
from .overrides import CLASS_HEADER, ITL_HEADER, TTFT_HEADER
from .policy import DEFAULT_CLASS
from .stream import Api, is_realtime

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .policy import Policy, SloClass
    from .slo import Limits

_USUAL_TARGET = "/v1/chat/completions"
_KEYS = ("method", "path", "model", "header")
_DIVIDER = re.compile(rf"(?<!\\),(?=(?:{'|'.join(_KEYS)})=)")
_HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):(.*)", re.DOTALL)
_SETTINGS = {TTFT_HEADER: "limits", ITL_HEADER: "limits", CLASS_HEADER: "classes"}


@dataclass(frozen=True, slots=True)
class Sample:
    """A request that is asked about."""

    method: str = ""  # empty: the one that is usual for the path
    target: str = _USUAL_TARGET
    model: str = ""
    headers: Headers = ()


class _Looks(NamedTuple):
    """What a policy asks of a request."""

    model: str
    path: str
    headers: Headers


def parse_sample(text: str) -> Sample:
    """Return the request that a text describes.

    Raises:
        ValueError: with a message that says how one is written.
    """
    values: dict[str, str] = {}
    headers: list[tuple[bytes, bytes]] = []
    for piece in _DIVIDER.split(text):
        key, equals, value = piece.replace("\\,", ",").partition("=")
        if not equals or key not in _KEYS:
            raise ValueError(f"{piece!r} is not KEY=VALUE with a key of {', '.join(_KEYS)}")
        if key == "header":
            headers.append(_parse_header(value))
        elif key in values:
            raise ValueError(f"{key} is given twice")
        else:
            values[key] = value
    return Sample(
        values.get("method", "").upper(),
        values.get("path", _USUAL_TARGET),
        values.get("model", ""),
        tuple(headers),
    )


def _parse_header(text: str) -> tuple[bytes, bytes]:
    found = _HEADER.fullmatch(text)
    if found is None:
        raise ValueError(f"header {text!r} is not NAME:VALUE")
    return found[1].encode("ascii"), found[2].strip().encode("utf-8", "surrogateescape")


def explain(sample: Sample, policy: Policy) -> list[str]:
    """Return what the proxy makes of a request, a line each; the first repeats the request."""
    path, _, query = sample.target.partition("?")
    realtime = is_realtime(path) and sample.method in {"", "GET"}
    method = sample.method or ("GET" if realtime else "POST")
    lines = [_title(method, sample)]
    try:
        check_request(
            method, sample.target, (1, 1), [(b"host", b""), *sample.headers], chunked=False
        )
    except Refusal as refusal:
        return [*lines, f"  refused with {refusal.status}: {refusal} {_aside(Passthrough.REFUSED)}"]
    if realtime:
        api, known = Api.REALTIME, parse_qs(query).get("model", [""])[0]
    else:
        route = classify(method, path)
        if not isinstance(route, Route):
            return [*lines, f"  not inference {_aside(route)}"]
        api, known = route.endpoint.api, sample.model or route.model
    if api is Api.EMBEDDINGS and not policy.names(path):
        return [*lines, f"  no class names its path {_aside(Passthrough.EMBEDDING)}"]
    model = as_model(known or sample.model) or UNKNOWN_MODEL
    overrides = policy.read_overrides(sample.headers)
    looks = _Looks(model, path, sample.headers)
    slo = policy.find(*looks, overrides)
    if api is Api.EMBEDDINGS and slo.name == DEFAULT_CLASS:
        return [*lines, f"  no class but {slo.name} takes it {_aside(Passthrough.EMBEDDING)}"]
    utterances = ", each utterance of a WebSocket" if realtime else ""
    return [
        *lines,
        f"  inference: api {api}, model {model}{utterances}",
        *_explain_headers(sample.headers, policy),
        *_explain_classes(policy, slo, looks, named=overrides.slo_class),
        f"  judged by {_spell(slo.limits)}; objective {slo.objective:g}",
    ]


def _title(method: str, sample: Sample) -> str:
    headers = (b"%b: %b" % header for header in sample.headers)
    shown = (header.decode("utf-8", "backslashreplace") for header in headers)
    return "  ".join([f"{method} {sample.target}", *shown])


def _aside(kind: Passthrough) -> str:
    return f"(not judged, counted as {kind.value})"


def _explain_headers(headers: Headers, policy: Policy) -> Iterator[str]:
    """Tell which of the request's own wishes are ignored; the rest shows in what follows."""
    rules = policy.rules
    allowed = {
        TTFT_HEADER: rules is not None and rules.bounds_ns is not None,
        ITL_HEADER: rules is not None and rules.bounds_ns is not None,
        CLASS_HEADER: rules is not None and bool(rules.classes),
    }
    for name, setting in _SETTINGS.items():
        own = [header for header in headers if header[0].lower() == name]
        if own and not allowed[name]:
            yield f"  {name.decode()} is not looked at: slo_headers.{setting} is off"
        for fault in policy.read_overrides(own).faults:
            yield f"  {name.decode()} is ignored: {fault.value}"


def _explain_classes(
    policy: Policy, chosen: SloClass, looks: _Looks, *, named: str
) -> Iterator[str]:
    """Tell of each class why it takes the request, or the first reason why it does not."""
    passed = False
    for slo in policy.classes:
        if passed:
            yield f"  {slo.name}: not tried"
            continue
        passed = slo.name == chosen.name
        if named:
            why = "named by x-slo-class" if passed else "x-slo-class names another"
        elif slo.name == DEFAULT_CLASS:
            why = "no other class takes it" if len(policy.classes) > 1 else "it is the only class"
        else:
            why = _explain_match(slo, looks)
        yield f"  {slo.name}: {'yes' if passed else 'no'}, {why}"


def _explain_match(slo: SloClass, looks: _Looks) -> str:
    held = []
    for condition in slo.match.conditions:
        value = condition.value(*looks)
        shown = f"{condition.subject} {value!r}" if value else f"{condition.subject} (none)"
        if not condition.accepts(value):
            return f"{shown} is not {condition.glob!r}"
        held.append(f"{shown} is {condition.glob!r}")
    return " and ".join(held) or "it takes everything"


def _spell(limits: Limits) -> str:
    spelt = (f"{dimension.value} {Duration(ns)}" for dimension, ns in limits.items())
    return ", ".join(spelt) or "no limit: whatever ends well is good"
