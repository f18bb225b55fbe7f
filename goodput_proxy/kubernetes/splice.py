"""Changes made to the text of a document, so that every byte that they do not concern stays.

A change is a splice: whole lines where the document is written in block style, a few characters
where it is written in flow style (as JSON is). The place comes from the positions that the YAML
parser gives its nodes. `Drop` takes exactly the characters that `Put` or `Append` added, so that
undoing gives the original back. Each splice is checked: what the new text says must be what
`tree.apply` makes of the old data, and otherwise the document is refused, not damaged.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import TYPE_CHECKING, Any

import yaml

from .documents import NotYamlError
from .tree import Append, Drop, Put, Refusal, Replace, apply

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .documents import Document
    from .tree import Change, Key, Path

_LINE_END = re.compile(r"\r?\n")
_COMMENT_LINE = re.compile(r"( *)#[^\n]*\n?")
_NODE_PROPERTIES = "&!*"  # anchor, tag, alias


def splice(document: Document, changes: Sequence[Change]) -> None:
    """Make changes to a document's text, one after the other.

    Raises:
        Refusal: when the text is laid out in a way in which that cannot be done safely.
    """
    if not changes:
        return
    wanted = apply(document.load(), changes)
    try:
        for change in changes:
            document.text = _edit(document.text, change)
        done = document.load() == wanted
    except (yaml.YAMLError, NotYamlError):
        done = False
    if not done:
        raise Refusal(
            "is laid out in a way that cannot be edited; reformat it, for example with"
            " `kubectl create --dry-run=client -o yaml -f FILE`"
        )


def source_of(document: Document, path: Path) -> str:
    """Return how a document spells a scalar."""
    node = _Tree(document.text).find(path)
    return document.text[node.start_mark.index : node.end_mark.index]


class _Tree:
    """The nodes of a document, with their positions."""

    def __init__(self, text: str) -> None:
        root = yaml.compose(text, yaml.SafeLoader)
        if root is None:
            raise _unfit(())
        self._root = root
        # A node with two parents is an anchor that an alias repeats.
        self._parents = Counter(id(child) for child in self._walk(self._root))

    def find(self, path: Path) -> yaml.Node:
        """Return the node at a place.

        Raises:
            Refusal: when it can be reached in more than one way, or is not written there.
        """
        node = self._root
        for depth, key in enumerate(path):
            child = _child(node, key)
            if child is None:
                raise Refusal(
                    f"{_dotted(path[: depth + 1])} comes from a merge key (`<<`); write it out"
                )
            node = child
            if self._parents[id(node)] > 1:
                raise Refusal(f"{_dotted(path[: depth + 1])} is shared by an alias; write it out")
        return node

    def _walk(self, root: yaml.Node) -> Iterator[yaml.Node]:
        seen: set[int] = set()
        rest = [root]
        while rest:
            node = rest.pop()
            if id(node) in seen:
                continue
            seen.add(id(node))
            children = _children(node)
            yield from children
            rest += children


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [child for pair in node.value for child in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def _child(node: yaml.Node, key: Key) -> yaml.Node | None:
    found: list[yaml.Node] = []
    if isinstance(node, yaml.SequenceNode) and isinstance(key, int):
        found = [node.value[key]]
    elif isinstance(node, yaml.MappingNode):
        found = [value for name, value in node.value if name.value == key]
    return found[-1] if found else None


def _edit(text: str, change: Change) -> str:
    tree = _Tree(text)
    match change:
        case Put(path, value):
            return _put(text, tree.find(path[:-1]), path, value)
        case Append(path, value):
            return _append(text, tree.find(path), path, value)
        case Replace(path, value, spelling):
            spelling = json.dumps(value) if spelling is None else spelling
            return _replace(text, tree.find(path), path, spelling)
        case Drop(path):
            tree.find(path)
            return _drop(text, tree.find(path[:-1]), path[-1])


def _put(text: str, mapping: yaml.Node, path: Path, value: Any) -> str:
    if not isinstance(mapping, yaml.MappingNode):
        raise _unfit(path[:-1])
    key = path[-1]
    if mapping.flow_style or not mapping.value:
        return _put_flow(text, mapping, f"{json.dumps(key)}: {_flow(value)}")
    column = mapping.value[0][0].start_mark.column
    lines = [" " * column + line for line in _block({key: value})]
    return _insert_lines(text, _end(text, mapping.value[-1][1]), column, lines)


def _append(text: str, items: yaml.Node, path: Path, value: Any) -> str:
    if not isinstance(items, yaml.SequenceNode):
        raise _unfit(path)
    if items.flow_style or not items.value:
        return _put_flow(text, items, _flow(value))
    start = items.start_mark
    if text[start.index] != "-":
        raise _unfit(path)
    lines = [" " * start.column + line for line in _block([value])]
    return _insert_lines(text, _end(text, items.value[-1]), start.column, lines)


def _put_flow(text: str, collection: yaml.CollectionNode, addition: str) -> str:
    """Add an element behind the last one, or behind the opening bracket."""
    children = _children(collection)
    if children:
        end = _end(text, children[-1])
        return f"{text[:end]}, {addition}{text[end:]}"
    opening = "{" if isinstance(collection, yaml.MappingNode) else "["
    start = text.index(opening, collection.start_mark.index) + 1
    return text[:start] + addition + text[start:]


def _replace(text: str, node: yaml.Node, path: Path, spelling: str) -> str:
    """Put other characters in a scalar's place; an empty one (null) has none of its own."""
    start, end = node.start_mark.index, node.end_mark.index
    if start < end and text[start] in _NODE_PROPERTIES:
        raise _unfit(path)
    if start == end:
        spelling = f" {spelling}"
    elif not spelling and text[start - 1] == " ":
        start -= 1
    return text[:start] + spelling + text[end:]


def _drop(text: str, parent: yaml.Node, key: Key) -> str:
    if isinstance(parent, yaml.MappingNode):
        elements = [(name.start_mark.index, value) for name, value in parent.value]
        position = max(i for i, (name, _) in enumerate(parent.value) if name.value == key)
    else:
        elements = [(item.start_mark.index, item) for item in parent.value]
        position = int(key)
    start, value = elements[position]
    if isinstance(parent, yaml.CollectionNode) and not parent.flow_style:
        return _remove_lines(text, start, _end(text, value))
    end = _end(text, value)
    if position > 0:
        start = _end(text, elements[position - 1][1])
    elif len(elements) > 1:
        end = elements[1][0]
    return text[:start] + text[end:]


def _insert_lines(text: str, end: int, column: int, lines: list[str]) -> str:
    """Insert lines behind the line in which an element ends, and behind its own comments."""
    at = _next_line(text, end)
    while comment := _COMMENT_LINE.match(text, at):
        if len(comment[1]) <= column:
            break
        at = comment.end()
    newline = _newline(text)
    addition = newline.join(lines)
    if at == len(text) and not text.endswith("\n"):
        return text + newline + addition
    return text[:at] + addition + newline + text[at:]


def _remove_lines(text: str, start: int, end: int) -> str:
    """Remove the lines that an element takes up; it must not share them with another."""
    begin = text.rfind("\n", 0, start) + 1
    if text[begin:start].strip(" -"):
        raise Refusal("has been edited by hand where the sidecar was added; remove it by hand")
    at = _next_line(text, end)
    if at == len(text) and not text.endswith("\n"):
        begin = _without_newline(text, begin)
    return text[:begin] + text[at:]


def _end(text: str, node: yaml.Node) -> int:
    """Return where the last character of an element is; the parser's mark may be further on."""
    end: int = node.end_mark.index
    if isinstance(node, yaml.ScalarNode) and node.style in {"|", ">"}:
        # Blank lines behind it do not belong to it, unless `+` keeps them.
        header = text[node.start_mark.index : end].partition("\n")[0].partition("#")[0]
        kept = text[:end] if "+" in header else text[:end].rstrip(" \t\r\n")
        return _without_newline(kept, len(kept))
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        return _end(text, _children(node)[-1])
    return end


def _next_line(text: str, at: int) -> int:
    found = _LINE_END.search(text, at)
    return found.end() if found else len(text)


def _without_newline(text: str, at: int) -> int:
    return len(text[:at].removesuffix("\n").removesuffix("\r"))


def _newline(text: str) -> str:
    found = _LINE_END.search(text)
    return found[0] if found else "\n"


def _block(value: Any) -> list[str]:
    dumped = yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=2**20)
    return dumped.rstrip("\n").split("\n")


def _flow(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _unfit(path: Path) -> Refusal:
    return Refusal(f"{_dotted(path)} is written in a way that cannot be edited; write it plainly")


def _dotted(path: Path) -> str:
    return ".".join(map(str, path)) or "the document"
