"""How much memory a thing holds, with all that only it refers to."""

from __future__ import annotations

import sys
from collections import deque
from enum import Enum
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

_SHARED = (type, Enum, ModuleType, FunctionType, BuiltinFunctionType, MethodType)


def size_of(value: Any, *, without: tuple[str, ...] = (), seen: set[int] | None = None) -> int:
    """Return the bytes of a value and of what it refers to, each counted once.

    Args:
        value: a container, an object with slots or a dict, a struct, or something flat.
        without: names of attributes that lead to things which others hold as well.
        seen: what has been counted.
    """
    seen = set() if seen is None else seen
    if value is None or id(value) in seen or isinstance(value, _SHARED):
        return 0
    seen.add(id(value))
    return sys.getsizeof(value) + sum(
        size_of(inner, without=without, seen=seen) for inner in _parts(value, without)
    )


def _parts(value: Any, without: tuple[str, ...]) -> list[Any]:
    if isinstance(value, dict):
        return [*value.keys(), *value.values()]
    if isinstance(value, list | tuple | set | frozenset | deque):
        return list(value)
    names = [
        *(
            name
            for kind in type(value).__mro__
            for slots in [kind.__dict__.get("__slots__", ())]
            for name in ([slots] if isinstance(slots, str) else slots)
        ),
        *getattr(value, "__struct_fields__", ()),
        *getattr(value, "__dict__", ()),
    ]
    return [getattr(value, name, None) for name in names if name not in without]
