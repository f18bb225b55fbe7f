"""Manifests in, manifests out: files, standard input and output, and what is said beside them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from goodput_proxy.settings import ConfigError

from .injection import Rejected, inject, uninject

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .settings import InjectSettings

_STDIN = "-"


def run_inject(settings: InjectSettings) -> int:
    """Read everything, then write everything; notes go to standard error.

    Raises:
        ConfigError: when a file cannot be read or an object is refused; nothing is written.
    """
    sources = [_read(str(path)) for path in settings.files] or [_read(_STDIN)]
    selection = settings.selection()
    try:
        if settings.remove:
            outcome = uninject(sources, selection)
        else:
            options = settings.options()
            outcome = inject(sources, selection, options, services=settings.services)
    except Rejected as exc:
        raise ConfigError(exc.problems) from None
    sys.stdout.buffer.write(_join(outcome.texts).encode())
    sys.stdout.buffer.flush()
    for note in outcome.notes:
        sys.stderr.write(f"{note}\n")
    return 0


def _read(name: str) -> tuple[str, str]:
    """Return what an input is called and what it says, line ends and all."""
    called = "standard input" if name == _STDIN else name
    try:
        content = sys.stdin.buffer.read() if name == _STDIN else Path(name).read_bytes()
        return called, content.decode()
    except OSError as exc:
        raise ConfigError([f"cannot read {called}: {exc.strerror}"]) from None
    except UnicodeDecodeError:
        raise ConfigError([f"{called} is not UTF-8"]) from None


def _join(texts: Sequence[str]) -> str:
    """Return one manifest of several; a single one stays as it is."""
    joined = texts[0]
    for text in texts[1:]:
        if joined and not joined.endswith("\n"):
            joined += "\n"
        joined += text if text.startswith("---") or not joined else f"---\n{text}"
    return joined
