"""A manifest as a sequence of documents, each with its own text.

Text is cut where YAML itself cuts: a line that begins with `---` or `...` is a document's border
wherever it stands, in a block of text too, so that no parser is needed to find it. A document is
parsed only when it can concern the sidecar; whatever else is in a manifest passes as it is, and
joining all documents gives the manifest back, byte for byte.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from .tree import Refusal, as_mapping, as_sequence

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .tree import Path

_BORDER = re.compile(r"(---|\.\.\.)(?=[\s]|$)")
# Before a `---`, these belong to the document that it begins.
_PREAMBLE = re.compile(r"\s*(#|%|$)")


class NotYamlError(Refusal):
    """A document is not YAML, or more than that."""


class _Loader(yaml.SafeLoader):
    """A loader that fails on nothing that Kubernetes reads."""


def _construct_text(loader: yaml.SafeLoader, node: yaml.Node) -> str:
    del loader
    return str(node.value)


# PyYAML knows no value for a lone `=`, and makes dates of what Kubernetes takes as text.
for _tag in ("value", "timestamp"):
    _Loader.add_constructor(f"tag:yaml.org,2002:{_tag}", _construct_text)


@dataclass(slots=True)
class Document:
    """One document of a manifest; `text` is what it is now."""

    source: str
    number: int  # in its manifest, from 1
    line: int  # of its manifest, on which it begins
    text: str
    _loaded: tuple[str, Any] = ("", None)

    def __str__(self) -> str:
        return f"{self.source}, document {self.number} (line {self.line})"

    def may_hold(self, kinds: re.Pattern[str]) -> bool:
        """Return whether one of the kinds occurs; if not, there is nothing to parse."""
        return kinds.search(self.text) is not None

    def load(self) -> Any:
        """Return the document as plain data, which is not to be changed.

        Raises:
            NotYamlError: when it is none.
        """
        if self._loaded[0] != self.text:
            self._loaded = (self.text, self._parse())
        return self._loaded[1]

    def _parse(self) -> Any:
        try:
            return yaml.load(self.text, _Loader)  # noqa: S506 -- a safe loader, see above
        except (yaml.YAMLError, RecursionError) as exc:
            raise NotYamlError(f"is not YAML: {self._reason(exc)}") from None

    def _reason(self, error: Exception) -> str:
        if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
            return f"{error.problem} (line {self.line + error.problem_mark.line})"
        return " ".join(str(error).split())


def kinds_pattern(kinds: Iterable[str]) -> re.Pattern[str]:
    """Return what finds objects of these kinds in text, at whatever depth."""
    return re.compile(rf"""(?m)(?:^|[\s{{,])["']?kind["']?\s*:\s*["']?(?:{"|".join(kinds)})\b""")


def split(source: str, text: str) -> list[Document]:
    """Return the documents of a manifest; their texts joined are the manifest."""
    documents: list[Document] = []
    lines: list[str] = []
    first = 1
    blank = True  # nothing in `lines` but what may stand before a document

    def finish(next_line: int) -> None:
        nonlocal lines, first, blank
        if lines:
            documents.append(Document(source, len(documents) + 1, first, "".join(lines)))
        lines, first, blank = [], next_line, True

    for number, line in enumerate(io.StringIO(text, newline=""), 1):  # line ends stay as they are
        border = _BORDER.match(line)
        if border and border[1] == "---" and not blank:
            finish(number)
        lines.append(line)
        blank = blank and border is None and _PREAMBLE.match(line) is not None
        if border and border[1] == "...":
            finish(number + 1)
    finish(0)
    return documents


def objects(data: Any, path: Path = ()) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield the Kubernetes objects of a document and where they are: the items of lists, too."""
    if str(as_mapping(data).get("kind", "")).endswith("List"):
        for index, item in enumerate(as_sequence(data.get("items"))):
            yield from objects(item, (*path, "items", index))
    elif isinstance(data, dict):
        yield path, data
