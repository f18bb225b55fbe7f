"""The outline of a long body: its short fields, whatever it is cut into, and little else."""

from __future__ import annotations

import json
import tracemalloc
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goodput_proxy.outline import Outline


def outline(*pieces: bytes) -> bytes:
    """Return the outline of a body that comes in these pieces."""
    reduced = Outline()
    for piece in pieces:
        reduced.add(piece)
    return reduced.take()


def expected(value: Any, depth: int = 0) -> Any:
    """Return what the outline of a decoded value is, by its definition."""
    if isinstance(value, dict):
        if depth == 2:
            return {}
        return {shorten(k): expected(v, depth + 1) for k, v in value.items()}
    if isinstance(value, list):
        return []
    return shorten(value) if isinstance(value, str) else value


def shorten(text: str) -> str:
    """Return a string, empty when it is long on the wire, with its closing quote."""
    return text if len(json.dumps(text)) - 1 <= 256 else ""


@pytest.mark.parametrize(
    ("body", "left"),
    [
        ({"model": "m", "stream": True, "max_tokens": 5, "echo": None}, None),
        ({"prompt": "x" * 300, "model": "m"}, {"prompt": "", "model": "m"}),
        ({"messages": [{"content": "a"}], "model": "m"}, {"messages": [], "model": "m"}),
        ({"input": [[1], [2]], "n": 1.5e3}, {"input": [], "n": 1500.0}),
        (
            {"sampling_params": {"max_new_tokens": 5, "stop": ["a"]}},
            {"sampling_params": {"max_new_tokens": 5, "stop": []}},
        ),
        ({"a": {"b": {"c": 1}, "d": 2}, "model": "m"}, {"a": {"b": {}, "d": 2}, "model": "m"}),
        (
            {"tools": [{"x": '{"model": "fake"}'}], "model": 'a"b\\'},
            {"tools": [], "model": 'a"b\\'},
        ),
        ([{"model": "m"}], []),
    ],
)
def test_short_fields_are_left(body: Any, left: Any) -> None:
    """The top level and the objects in it, without lists and without long strings."""
    data = json.dumps(body).encode()

    assert json.loads(outline(data)) == (body if left is None else left)
    assert outline(*(data[i : i + 1] for i in range(len(data)))) == outline(data)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=5)
    | st.text('ab\\"é', min_size=50, max_size=300),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=15,
)


@given(st.dictionaries(st.text(max_size=5), JSON, max_size=5), st.lists(st.integers(0, 3000)))
def test_it_is_json_if_the_body_is(body: Any, cuts: list[int]) -> None:
    """Whatever the body holds and wherever it is cut, the outline is by its definition."""
    data = json.dumps(body).encode()
    edges = sorted({0, len(data), *(c for c in cuts if c < len(data))})
    pieces = [data[a:b] for a, b in pairwise(edges)]

    assert json.loads(outline(*pieces)) == expected(body)


@given(st.binary(max_size=300), st.integers(0, 300))
def test_any_bytes_do(data: bytes, cut: int) -> None:
    """A body that is no JSON does no harm, and its outline does not depend on the cut."""
    assert outline(data[:cut], data[cut:]) == outline(data)


@pytest.mark.parametrize(
    "piece", [b'"' + b"x" * 9999 + b'",', b"[[[[", b'{"a":', b" " * 9999, b'"a":1,' * 999, b"}]"]
)
def test_it_stays_small(piece: bytes) -> None:
    """Whatever comes, little is kept of it."""
    reduced = Outline()
    reduced.add(b"{")
    tracemalloc.start()
    for _ in range(300):
        reduced.add(piece)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert held < 100_000
    assert len(reduced.take()) < 80_000
