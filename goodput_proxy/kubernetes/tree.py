"""Objects as plain data, and the four changes that are ever made to them.

A change names its place by the keys that lead there. `apply` carries changes out on data,
`as_patch` says the same as an RFC 6902 JSON patch; splice.py does it to the text of a manifest,
and checks its work against `apply`.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence

Key: TypeAlias = str | int
Path: TypeAlias = tuple[Key, ...]


class Refusal(Exception):  # noqa: N818 -- nothing went wrong: the answer is no
    """The sidecar cannot be added (or taken away); the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Put:
    """Add a key that a mapping does not have."""

    path: Path
    value: Any


@dataclass(frozen=True, slots=True)
class Append:
    """Add an item to the end of the list at `path`."""

    path: Path
    value: Any


@dataclass(frozen=True, slots=True)
class Replace:
    """Put a value in the place of a scalar; `text` is how a manifest spells it."""

    path: Path
    value: Any
    text: str | None = None


@dataclass(frozen=True, slots=True)
class Drop:
    """Remove a key, or an item of a list."""

    path: Path


Change: TypeAlias = Put | Append | Replace | Drop


def look_up(data: Any, path: Path) -> Any:
    """Return what is at a place; None where there is nothing, or where the way is another kind."""
    for key in path:
        if isinstance(key, str):
            data = as_mapping(data).get(key)
        else:
            items = as_sequence(data)
            data = items[key] if key < len(items) else None
    return data


def as_mapping(value: Any) -> dict[str, Any]:
    """Return a mapping as it is, and an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def as_sequence(value: Any) -> list[Any]:
    """Return a list as it is, and an empty one for anything else."""
    return value if isinstance(value, list) else []


def apply(data: Any, changes: Sequence[Change]) -> Any:
    """Return the data with all changes made, one after the other; the argument stays as it is."""
    data = copy.deepcopy(data)
    for change in changes:
        if isinstance(change, Append):
            look_up(data, change.path).append(change.value)
            continue
        parent, key = look_up(data, change.path[:-1]), change.path[-1]
        if isinstance(change, Drop):
            del parent[key]
        else:
            parent[key] = change.value
    return data


def as_patch(changes: Sequence[Change]) -> list[dict[str, Any]]:
    """Return the changes as the operations of a JSON patch."""
    return [_as_operation(change) for change in changes]


def _as_operation(change: Change) -> dict[str, Any]:
    match change:
        case Put(path, value):
            return {"op": "add", "path": _pointer(path), "value": value}
        case Append(path, value):
            return {"op": "add", "path": f"{_pointer(path)}/-", "value": value}
        case Replace(path, value):
            return {"op": "replace", "path": _pointer(path), "value": value}
        case Drop(path):
            return {"op": "remove", "path": _pointer(path)}


def _pointer(path: Path) -> str:
    """Return an RFC 6901 pointer."""
    return "".join("/" + str(key).replace("~", "~0").replace("/", "~1") for key in path)
