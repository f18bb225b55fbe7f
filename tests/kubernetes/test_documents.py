"""Where a manifest is cut, and that nothing gets lost on the way."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from goodput_proxy.kubernetes.documents import Document, NotYamlError, kinds_pattern, objects, split

PIECES = st.sampled_from(
    [
        *("---", "--- # x", "---x", "...", "%YAML 1.1", "# c", "a: 1", " b: |", "  ---"),
        *("\r", "\n", "\r\n"),
    ]
)


@given(st.lists(PIECES).map("".join))
def test_nothing_is_lost(text: str) -> None:
    """The documents joined are the manifest, whatever it is; lines are counted right."""
    documents = split("in", text)

    assert "".join(document.text for document in documents) == text
    assert [document.number for document in documents] == list(range(1, len(documents) + 1))


@pytest.mark.parametrize(
    ("text", "starts"),
    [
        ("", []),
        ("a: 1\n", [1]),
        ("---\na: 1\n---\nb: 1\n", [1, 3]),
        ("# about a\n---\na: 1\n", [1]),
        ("a: 1\n# about b\n---\nb: 1\n", [1, 3]),
        ("a: 1\n...\n%YAML 1.2\n---\nb: 1\n", [1, 3]),
        ("a: 1\n...\n", [1]),
        ("---\n---\n---", [1, 2, 3]),
        ("a: |\n  ---\n  x\n", [1]),
        ("---a: 1\n", [1]),
        ("a: 1\r\n---\r\nb: 1\r\n", [1, 2]),
        ("\ufeffa: 1\n---\nb: 1\n", [1, 2]),
    ],
)
def test_cuts_are_those_of_yaml(text: str, starts: list[int]) -> None:
    """A document begins where the parser finds it, and says on which line."""
    documents = split("in", text)

    assert [document.line for document in documents] == starts
    loaded = [data for data in yaml.safe_load_all(text) if data is not None]
    assert [data for d in documents if (data := d.load()) is not None] == loaded


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("kind: Pod\n", True),
        ("- kind:   'Pod' # x\n", True),
        ('{"kind":"Pod"}', True),
        ("a: {x: 1,kind: Pod}", True),
        ("kind: PodMonitor\n", False),
        ("kind: CronJobs\n", False),
        ("mankind: Pod\n", False),
        ("kind: Service\n", False),
        ("# of the kind Pod\n", False),
    ],
)
def test_what_is_worth_parsing(text: str, holds: bool) -> None:  # noqa: FBT001 -- a table
    """Only a document that can hold an object of a known kind is parsed."""
    pattern = kinds_pattern({"Pod", "Job"})

    assert Document("in", 1, 1, text).may_hold(pattern) is holds


def test_values_that_yaml_libraries_stumble_over() -> None:
    """A lone `=` and what looks like a date are text, as they are to Kubernetes."""
    data = Document("in", 1, 1, "a: [=]\nb: 2024-01-01\n").load()

    assert data == {"a": ["="], "b": "2024-01-01"}


def test_a_problem_has_the_line_of_the_manifest() -> None:
    """Whoever has to repair it finds the line in the file, not in the document."""
    _, second = split("in.yaml", "a: 1\n---\nb: b: c\n")

    assert str(second) == "in.yaml, document 2 (line 2)"
    with pytest.raises(NotYamlError, match=r"mapping values are not allowed here \(line 3\)"):
        second.load()


def test_objects_of_lists_are_found_where_they_are() -> None:
    """Items of a list are objects, of a list in a list, too; what is no object is none."""
    pod = {"kind": "Pod"}
    inner = {"kind": "PodList", "items": [pod]}
    data = {"kind": "List", "items": [1, inner]}

    assert list(objects(data)) == [(("items", 1, "items", 0), pod)]
    assert list(objects({"kind": "List"})) == []
    assert list(objects("text")) == []
