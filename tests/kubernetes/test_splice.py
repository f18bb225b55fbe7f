"""Edits of text: only what they concern, whatever the layout, and undone without a trace."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from goodput_proxy.kubernetes.documents import Document
from goodput_proxy.kubernetes.injection import inject, uninject
from goodput_proxy.kubernetes.options import SidecarOptions
from goodput_proxy.kubernetes.selection import Selection
from goodput_proxy.kubernetes.splice import source_of, splice
from goodput_proxy.kubernetes.tree import Append, Change, Drop, Put, Refusal, Replace
from tests.kubernetes.layouts import deployments, layouts

ALL = Selection(everything=True)
OPTIONS = SidecarOptions(config="slo")


def edit(text: str, *changes: Change) -> str:
    """Return a document's text after changes."""
    document = Document("test", 1, 1, text)
    splice(document, changes)
    return document.text


CASES: list[tuple[str, Change, str]] = [
    ("a: 1\n", Put(("b",), 2), "a: 1\nb: 2\n"),
    ("a: 1", Put(("b",), 2), "a: 1\nb: 2"),
    ("a: 1\r\nc: 3\r\n", Put(("b",), 2), "a: 1\r\nc: 3\r\nb: 2\r\n"),
    ("a:\n    x: 1  # x\n\nb: 2\n", Put(("a", "y"), 2), "a:\n    x: 1  # x\n    y: 2\n\nb: 2\n"),
    ("a: {x: 1}\n", Put(("a", "y"), [2]), 'a: {x: 1, "y": [2]}\n'),
    ("a: { }\n", Put(("a", "y"), 2), 'a: {"y": 2 }\n'),
    ("a: !!map {}\n", Put(("a", "y"), 2), 'a: !!map {"y": 2}\n'),
    ("- a: 1\n  b:\n  - x\n", Put((0, "c"), 3), "- a: 1\n  b:\n  - x\n  c: 3\n"),
    (
        "a: |\n  text\n\nb: |+\n  text\n\n",
        Put(("c",), 1),
        "a: |\n  text\n\nb: |+\n  text\n\nc: 1\n",
    ),
    ("a: >-  # folded\n  text\n\n", Put(("c",), 1), "a: >-  # folded\n  text\nc: 1\n\n"),
    ("a:\n- x\n", Append(("a",), {"y": 1, "z": [2]}), "a:\n- x\n- y: 1\n  z:\n  - 2\n"),
    (
        "a:\n  - x # x\n  # - z\nb: 1\n",
        Append(("a",), "y"),
        "a:\n  - x # x\n  - y\n  # - z\nb: 1\n",
    ),
    (
        "a:\n  - x\n    # x is good\nb: 1\n",
        Append(("a",), "y"),
        "a:\n  - x\n    # x is good\n  - y\nb: 1\n",
    ),
    ("a: [x]\n", Append(("a",), "y"), 'a: [x, "y"]\n'),
    ("a: [\n  x, # x\n]\n", Append(("a",), "y"), 'a: [\n  x, "y", # x\n]\n'),
    ("a: []\n", Append(("a",), "y"), 'a: ["y"]\n'),
    ("a: 1 # one\n", Replace(("a",), 2), "a: 2 # one\n"),
    ("a: 1\n", Replace(("a",), "x", "'x'"), "a: 'x'\n"),
    ("a:\nb: 1\n", Replace(("a",), {"x": 1}), 'a: {"x": 1}\nb: 1\n'),
    ("a: # none\n", Replace(("a",), 2), "a: 2 # none\n"),
    ("a: ~ # none\n", Replace(("a",), 2), "a: 2 # none\n"),
]


@pytest.mark.parametrize(("text", "change", "expected"), CASES)
def test_an_edit(text: str, change: Change, expected: str) -> None:
    """Each way of writing is kept."""
    assert edit(text, change) == expected


@pytest.mark.parametrize(("text", "change", "edited"), CASES)
def test_an_edit_is_undone(text: str, change: Change, edited: str) -> None:
    """What was added can be dropped, what was replaced can be put back, to the last byte."""
    undo: Change
    if isinstance(change, Put):
        undo = Drop(change.path)
    elif isinstance(change, Append):
        undo = Drop((*change.path, 1 if "x" in text else 0))
    else:
        document = Document("test", 1, 1, text)
        value = document.load()[change.path[0]]
        undo = Replace(change.path, value, source_of(document, change.path))

    assert edit(edited, undo) == text


@pytest.mark.parametrize(
    ("text", "change", "reason"),
    [
        ("a: &x [1]\nb: *x\n", Append(("b",), 2), "b is shared by an alias"),
        ("a: &x {c: [1]}\nb: *x\n", Append(("a", "c"), 2), "a is shared by an alias"),
        ("x: &x {c: [1]}\nb:\n  <<: *x\n", Append(("b", "c"), 2), "b.c comes from a merge key"),
        ("a: &x 1\n", Replace(("a",), 2), "a is written in a way"),
        ("a: &x\n- 1\n", Append(("a",), 2), "a is written in a way"),
        ("? a\n: 1\n", Put(("b",), 2), "laid out in a way that cannot be edited"),
        ("- a: 1\n  b: 2\n", Drop((0, "a")), "laid out in a way that cannot be edited"),
        ("a: - b\n", Put(("b",), 2), "is not YAML"),
    ],
)
def test_what_cannot_be_edited_safely(text: str, change: Change, reason: str) -> None:
    """A layout that is not understood is refused, never damaged."""
    with pytest.raises(Refusal, match=reason):
        edit(text, change)


def test_no_change_is_no_parse() -> None:
    """Without a change, not even nonsense is looked at."""
    assert edit("a: b: c") == "a: b: c"


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_any_layout(data: st.DataObject) -> None:
    """However a manifest is laid out: in twice is in once, and out is what it was."""
    deployment: dict[str, Any] = data.draw(deployments())
    text: str = data.draw(layouts(deployment))
    # Blank lines behind a text that keeps them are more of it: another manifest, and as good.
    assume(Document("test", 1, 1, text).load() == deployment)

    once = inject([("test", text)], ALL, OPTIONS).texts

    assert once != [text]
    assert inject([("test", once[0])], ALL, OPTIONS).texts == once
    assert uninject([("test", once[0])], Selection()).texts == [text]
