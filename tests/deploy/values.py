"""A strategy that draws values of the chart from its schema.

What is drawn is what a user writes: an example with some groups of values written anew, over the
defaults. Where the schema is open since a value is handed on to Kubernetes, something is drawn that
Kubernetes knows.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from hypothesis import strategies as st

from tests.deploy.helm import CHART, EXAMPLES, example

SCHEMA: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text())

# Text that YAML, templates and shells are fond of.
_NASTY = ["", "null", "true", "1e3", "0x1", "~", "{{ .Values.x }}", "a: b", "- a", "#", '"', "'"]
_NASTY += ["%", "@", "two\nlines", "\t", " blank ", "\u2028", "é", "&a *a", "|", "---", "\\"]
_TEXT = st.sampled_from(_NASTY) | st.text(
    st.characters(exclude_categories=("Cc", "Cs", "Cn", "Co")), max_size=12
)
# Numbers that are spelt the same by everybody.
_NUMBER = st.integers(-1000, 1000).map(lambda n: n / 8)
ANYTHING: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**31), 2**31) | _NUMBER | _TEXT,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(_TEXT, inner, max_size=2),
    max_leaves=4,
)


_PEERS = [{"podSelector": {}}, {"namespaceSelector": {"matchLabels": {"a": "b"}}}]
_VOLUMES = [{"name": "v", "emptyDir": {}}]
_METRICS = [{"type": "Resource", "resource": {"name": "memory", "target": {"type": "Value"}}}]
_SPREAD = [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}]
_RELABELINGS = [{"action": "labeldrop", "regex": "a"}]
_EXPRESSION = {"key": "a", "operator": "Exists"}
# What may stand where the schema is open.
OPEN: dict[str, Any] = {
    "affinity": {"podAntiAffinity": {}},
    "extraObjects": [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "{{ x }}"}}],
    "extraVolumeMounts": [{"name": "v", "mountPath": "/v"}],
    "extraVolumes": _VOLUMES,
    "from": _PEERS,
    "global": {"anything": {"of": "others"}},
    "instanceSelector": {"matchExpressions": [_EXPRESSION]},
    "metricRelabelings": _RELABELINGS,
    "metrics": _METRICS,
    "metricsFrom": _PEERS,
    "namespaceSelector": {"matchExpressions": [_EXPRESSION]},
    "relabelings": _RELABELINGS,
    "tolerations": [{"operator": "Exists"}],
    "topologySpreadConstraints": _SPREAD,
}


@st.composite
def drawn(draw: st.DrawFn) -> dict[str, Any]:
    """Return values that the schema allows."""
    values = example(draw(st.sampled_from(EXAMPLES)))
    names = st.lists(st.sampled_from(sorted(SCHEMA["properties"])), max_size=3, unique=True)
    for name in draw(names):
        values[name] = draw(_named(name, SCHEMA["properties"][name]))
    return values


@st.composite
def spoiled(draw: st.DrawFn) -> dict[str, Any]:
    """Return values in which one thing, somewhere, is replaced or added."""
    values = draw(drawn())
    place = values
    while True:
        deeper = [key for key, value in place.items() if isinstance(value, dict)]
        if not deeper or draw(st.booleans()):
            break
        place = place[draw(st.sampled_from(deeper))]
    key = draw(st.sampled_from([*place, *SCHEMA["properties"]]) | _TEXT)
    place[key] = draw(ANYTHING)
    return values


@cache
def _of(text: str) -> st.SearchStrategy[Any]:
    """Return what a part of the schema allows; the part is spelt out, so that it can be cached."""
    part = json.loads(text)
    if "$ref" in part:
        name = part["$ref"].rpartition("/")[2]
        return st.deferred(lambda: _of(json.dumps(SCHEMA["definitions"][name])))
    if "enum" in part:
        return st.sampled_from(part["enum"])
    kinds = part["type"] if isinstance(part["type"], list) else [part["type"]]
    return st.one_of([_KINDS[kind](part) for kind in kinds])


def _named(name: str, part: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Return what a property may be; of what is open, a sample."""
    target = SCHEMA["definitions"][part["$ref"].rpartition("/")[2]] if "$ref" in part else part
    if target.get("type") == "object" and target.keys() <= {"type"}:
        return st.sampled_from([{}, OPEN[name]])
    if target.get("items") == {"type": "object"}:
        return st.sampled_from([[], OPEN[name]])
    return _of(json.dumps(part))


def _object(text: str, *, required: bool = True) -> st.SearchStrategy[dict[str, Any]]:
    part = json.loads(text)
    if "properties" in part:
        properties = {name: _named(name, inner) for name, inner in part["properties"].items()}
        # Inside a list there are no defaults that would fill in the rest.
        needed = set(part.get("required", ())) if required else set()
        return st.fixed_dictionaries(
            {name: properties[name] for name in sorted(needed)},
            optional={name: properties[name] for name in properties.keys() - needed},
        )
    keys, values = _TEXT, ANYTHING.filter(lambda value: value is not None)
    if "pattern" in part.get("propertyNames", {}):
        keys = _matching(part["propertyNames"]["pattern"])
    for pattern in part.get("patternProperties", ()):
        keys, values = _matching(pattern), _TEXT
    if isinstance(part.get("additionalProperties"), dict):
        values = _of(json.dumps(part["additionalProperties"]))
    return st.dictionaries(keys, values, max_size=3)


def _array(part: dict[str, Any]) -> st.SearchStrategy[list[Any]]:
    items = part["items"]
    if "$ref" in items:
        items = SCHEMA["definitions"][items["$ref"].rpartition("/")[2]]
    if items["type"] == "object":
        return st.lists(_object(json.dumps(items)), max_size=2)
    return st.lists(_of(json.dumps(items)), max_size=2)


def _string(part: dict[str, Any]) -> st.SearchStrategy[str]:
    if "pattern" in part:
        return _matching(part["pattern"])
    return _TEXT.filter(lambda text: len(text) >= part.get("minLength", 0))


def _matching(pattern: str) -> st.SearchStrategy[str]:
    # `$` of Python also stands before a last line's end.
    found = st.from_regex(
        pattern.removesuffix("$") + r"\Z", alphabet=st.characters(max_codepoint=126)
    )
    return found.filter(lambda text: len(text) <= 63)


def _integer(part: dict[str, Any]) -> st.SearchStrategy[int]:
    least = part.get("minimum", 0)
    return st.integers(least, part.get("maximum", 2**31))


def _number(part: dict[str, Any]) -> st.SearchStrategy[float]:
    if "exclusiveMaximum" in part:
        return st.integers(1, 7).map(lambda n: n / 8)
    return st.integers(0, int(part.get("maximum", 100))).map(float)


_KINDS: dict[str, Any] = {
    "object": lambda part: _object(json.dumps(part), required=False),
    "array": _array,
    "string": _string,
    "integer": _integer,
    "number": _number,
    "boolean": lambda _: st.booleans(),
}
