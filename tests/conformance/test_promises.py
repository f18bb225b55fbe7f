"""The page of promises and the tests that prove them name each other."""

from __future__ import annotations

import ast
import re
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE.parent.parent / "docs" / "behaviour.md"
ROW = re.compile(r"^\| (\d+) \| (.+) \| (.+) \|$", re.MULTILINE)
NAME = re.compile(r"`(test_(\d\d)_\w+)`")


def defined() -> dict[str, int]:
    """Return the numbered tests of this folder and their numbers."""
    names = [
        node.name
        for path in HERE.glob("test_*.py")
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    return {name: int(name[5:7]) for name in names if re.match(r"test_\d\d_", name)}


def rows() -> dict[int, str]:
    """Return the proofs of each promise by its number."""
    found = ROW.findall(PAGE.read_text())
    assert len({number for number, _, _ in found}) == len(found), "a number stands there twice"
    return {int(number): proof for number, _, proof in found}


def test_each_promise_is_proved() -> None:
    """A row names tests that exist, and that bear its number."""
    tests = defined()
    for number, proof in rows().items():
        named = NAME.findall(proof)
        assert named, f"promise {number} names no test"
        for name, _ in named:
            assert tests.get(name) == number, f"promise {number} names {name}"


def test_each_test_proves_a_promise() -> None:
    """A numbered test stands in the row of its number."""
    named = {name for proof in rows().values() for name, _ in NAME.findall(proof)}

    assert sorted(set(defined()) - named) == []
