"""The same data in all the ways in which people lay YAML out, for hypothesis."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import yaml
from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Callable

    Draw = Callable[[st.SearchStrategy[Any]], Any]

_TEXTS = st.sampled_from(
    [
        "a",
        "yes",
        "8000",
        "#no comment",
        "- no item",
        "{no: flow}",
        "x: y",
        "ü",
        "a\nb",
        "a\n\nb\n\n",
    ]
)
_SCALARS = st.one_of(_TEXTS, st.integers(-5, 70000), st.booleans(), st.none())
_EXTRAS = st.dictionaries(
    st.sampled_from(["one", "two.x/y", "on"]),
    st.recursive(
        _SCALARS,
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(_TEXTS, inner, max_size=2),
        max_leaves=4,
    ),
    max_size=2,
)


@st.composite
def deployments(draw: Draw) -> dict[str, Any]:
    """Return a Deployment whose pod asks for the sidecar, with fields that nobody knows."""
    odd = st.sampled_from(["absent", "null", "empty", "filled"])

    def maybe(parent: dict[str, Any], key: str, empty: Any, filled: Any) -> None:
        way = draw(odd)
        if way != "absent":
            parent[key] = {"null": None, "empty": empty, "filled": filled}[way]

    container = {"name": "server", "ports": [{"containerPort": 8000}], **draw(_EXTRAS)}
    metadata: dict[str, Any] = {}
    maybe(metadata, "labels", {}, {"app": "server"})
    maybe(metadata, "annotations", {}, {"team": draw(_TEXTS)})
    spec: dict[str, Any] = {"containers": [container], **draw(_EXTRAS)}
    maybe(spec, "initContainers", [], [{"name": "first"}])
    maybe(spec, "volumes", [], [{"name": "cache", "emptyDir": {}}])
    template: dict[str, Any] = {"spec": spec}
    if draw(st.booleans()):
        template = (
            {"metadata": metadata, **template}
            if draw(st.booleans())
            else {**template, "metadata": metadata}
        )
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "server"},
        "spec": {"template": template, **draw(_EXTRAS)},
    }


@st.composite
def layouts(draw: Draw, data: dict[str, Any]) -> str:
    """Return a document that says the data."""
    begin = draw(st.sampled_from(["", "---\n", "# a comment\n---\n", "--- # a comment\n", "\n\n"]))
    lines = _Writer(draw).mapping(data, 0)
    end = draw(st.sampled_from(["\n", "", "\n\n\n", "\n# the end\n", "\n...\n"]))
    text = begin + "\n".join(lines) + end
    newline: str = draw(st.sampled_from(["\n", "\r\n"]))
    laid_out: str = text.replace("\n", newline)
    return laid_out


class _Writer:
    def __init__(self, draw: Draw) -> None:
        self._draw = draw
        # Most people keep to one way of indenting lists.
        self._dash_indent = draw(st.sampled_from([0, 2, 3]))
        self._step = draw(st.sampled_from([2, 4]))

    def mapping(self, data: dict[str, Any], column: int) -> list[str]:
        lines = []
        for key, value in data.items():
            lines += self._between(column)
            lines += self._entry(" " * column + self._key(key) + ":", value, column)
        return lines

    def _entry(self, head: str, value: Any, column: int) -> list[str]:
        if isinstance(value, dict | list) and value and self._draw(st.integers(0, 4)):
            head += self._behind()
            if isinstance(value, dict):
                return [head, *self.mapping(value, column + self._step)]
            return [head, *self._items(value, column + self._dash_indent)]
        if isinstance(value, str) and "\n" in value and self._draw(st.booleans()):
            return [
                f"{head} |{'2' if value[0] == ' ' else ''}{self._chomp(value)}",
                *(" " * (column + 2) + line if line else "" for line in self._text(value)),
            ]
        if value is None and self._draw(st.booleans()):
            return [head + self._behind()]
        return [f"{head} {self._flow(value)}{self._behind()}"]

    def _items(self, items: list[Any], column: int) -> list[str]:
        lines = []
        for item in items:
            lines += self._between(column)
            gap = self._draw(st.sampled_from([1, 1, 3]))
            dash = " " * column + "-" + " " * gap
            if isinstance(item, dict) and item and self._draw(st.integers(0, 4)):
                inner = self.mapping(item, len(dash))
                while not inner[0].strip() or inner[0].lstrip().startswith("#"):
                    inner.pop(0)
                lines += [dash + inner[0][len(dash) :], *inner[1:]]
            else:
                lines += [f"{dash}{self._flow(item)}{self._behind()}"]
        return lines

    def _chomp(self, value: str) -> str:
        if value.endswith("\n"):
            return "+" if value.endswith("\n\n") else ""
        return "-"

    def _text(self, value: str) -> list[str]:
        return value.removesuffix("\n").split("\n")

    def _key(self, key: str) -> str:
        return json.dumps(key) if self._draw(st.booleans()) else _plain(key)

    def _flow(self, value: Any) -> str:
        if isinstance(value, dict | list) or self._draw(st.booleans()):
            return json.dumps(value, ensure_ascii=False)
        return _plain(value)

    def _between(self, column: int) -> list[str]:
        deeper = " " * self._draw(st.sampled_from([0, column, column + 2]))
        lines: list[str] = self._draw(st.sampled_from([[], [], [], [""], [f"{deeper}# between"]]))
        return lines

    def _behind(self) -> str:
        comment: str = self._draw(st.sampled_from(["", "", "", "  # behind"]))
        return comment


def _plain(value: Any) -> str:
    """Return a scalar as PyYAML writes it in one line."""
    dumped: str = yaml.safe_dump(value, allow_unicode=True, width=2**20, default_style=None)
    if "\n" in dumped.removesuffix("\n").removesuffix("\n..."):
        return json.dumps(value)
    return dumped.removesuffix("\n").removesuffix("\n...")
