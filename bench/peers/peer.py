"""What a row of the table is: how a proxy is started, and which of its processes do the work."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

# Peers from the package index: each in an environment of its own, made by `make bench-peers`.
_ENVIRONMENTS = Path(__file__).parent.parent.parent / ".venv-bench"


@dataclass(frozen=True, slots=True)
class Site:
    """Where one start of a proxy lives."""

    upstream_port: int
    listen_port: int
    admin_port: int
    directory: Path
    """Empty, for the proxy's own files; removed afterwards."""


@dataclass(frozen=True, slots=True)
class Peer:
    """One proxy of the table."""

    name: str
    missing: Callable[[], str | None]
    """Why it cannot run here, None if it can."""
    version: Callable[[], str]
    command: Callable[[Site], list[str]] | None
    """How to start it in the foreground; None: the client goes straight upstream."""
    workers: Callable[[int], list[int]]
    """From the id of the started process to those whose CPU and memory count."""
    ready_s: float = 15.0
    """How long it may take to start."""


def itself(pid: int) -> list[int]:
    """Return the started process as the only one that counts."""
    return [pid]


def needs_package(module: str) -> Callable[[], str | None]:
    """Return a check whether a module can be imported."""

    def missing() -> str | None:
        try:
            found = importlib.util.find_spec(module) is not None
        except ModuleNotFoundError:  # not even its parent package
            found = False
        return None if found else f"no Python module {module} here"

    return missing


def package_version(package: str) -> Callable[[], str]:
    """Return a function that names the version of an installed package."""

    def version() -> str:
        try:
            return importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            return "from the checkout"

    return version


def environment(name: str) -> Path:
    """Return the folder of a peer's own environment."""
    return _ENVIRONMENTS / name


def needs_environment(name: str) -> Callable[[], str | None]:
    """Return a check whether a peer's own environment has been made."""

    def missing() -> str | None:
        made = (environment(name) / ".made").exists()
        return None if made else "not installed; `make bench-peers` does it"

    return missing


def environment_version(name: str) -> Callable[[], str]:
    """Return a function that names what was installed into a peer's own environment."""

    def version() -> str:
        return (environment(name) / ".made").read_text().strip()

    return version
