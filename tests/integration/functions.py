"""Every function of a package's modules: found, watched while others call it, and broken."""

from __future__ import annotations

import importlib
import inspect
import sys
from contextlib import contextmanager
from functools import cached_property
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class InjectedError(Exception):
    """What a broken function raises."""


def find_functions(modules: Iterable[str]) -> dict[str, FunctionType]:
    """Return what is written as a function or a method in these modules, by its full name."""
    found = {}
    for name in modules:
        module = importlib.import_module(name)
        for function in _below(module, module.__file__ or ""):
            found[f"{name.partition('.')[2]}.{function.__qualname__}"] = function
    return found


def _below(owner: Any, file: str) -> Iterator[FunctionType]:
    for value in vars(owner).values():
        function = _unwrap(value)
        if function is not None:
            if function.__code__.co_filename == file:
                yield function
        elif inspect.isclass(value) and value.__module__ == getattr(
            owner, "__module__", owner.__name__
        ):
            yield from _below(value, file)


def _unwrap(value: Any) -> FunctionType | None:
    """Return the function that a module's or a class's attribute is made of."""
    if isinstance(value, property):
        value = value.fget
    elif isinstance(value, cached_property):
        value = value.func
    elif isinstance(value, classmethod | staticmethod):
        value = value.__func__
    value = inspect.unwrap(value) if callable(value) else value
    return value if isinstance(value, FunctionType) else None


@contextmanager
def watched() -> Iterator[set[CodeType]]:
    """Return the code that runs in this thread while the context is open."""
    seen: set[CodeType] = set()

    def note(frame: Any, event: str, _: Any) -> None:
        if event == "call":
            seen.add(frame.f_code)

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        yield seen
    finally:
        sys.setprofile(before)


@contextmanager
def broken(function: FunctionType) -> Iterator[list[str]]:
    """Let a function raise whoever calls it, by whatever reference; return who has been hit."""
    hits: list[str] = []
    original = function.__code__
    function.__code__ = _raising(function, hits)
    try:
        yield hits
    finally:
        function.__code__ = original


_HITS: dict[str, list[str]] = {}


def _raising(function: FunctionType, hits: list[str]) -> CodeType:
    """Return code that raises, with the free variables that the function's own code has."""
    name = f"{function.__module__}.{function.__qualname__}"
    _HITS[name] = hits
    free = function.__code__.co_freevars
    # Compiled in a function that binds these names: the number of cells has to be the same.
    lines = [
        "def outer():",
        *(f"    {variable} = None" for variable in free),
        "    def inner(*arguments, **keywords):",
        *(f"        {variable}" for variable in free),
        "        from tests.integration.functions import fail",
        f"        fail({name!r})",
        "    return inner",
    ]
    scope: dict[str, Any] = {}
    exec("\n".join(lines), scope)  # noqa: S102 -- its text is made here
    inner: FunctionType = scope["outer"]()
    return inner.__code__


def fail(name: str) -> None:
    """Raise in the place of a function."""
    _HITS[name].append(name)
    raise InjectedError(name)
