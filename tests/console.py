"""Commands that a page of the docs shows, run as its reader would run them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def files_of(page: str) -> dict[str, str]:
    """Return the files that a page shows, by the names that it gives them."""
    return dict(re.findall(r"<!-- ([\w.-]+) -->\n```yaml\n(.*?)```", page, re.DOTALL))


def commands_of(page: str) -> list[tuple[str, list[str]]]:
    """Return each command of a page and what it is shown to print.

    A command goes on after a backslash, or to the end of its block where a here-document begins.
    """
    found: list[tuple[str, list[str]]] = []
    for block in re.findall(r"```console\n(.*?)```", page, re.DOTALL):
        for text in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            lines = text.splitlines()
            end = len(lines) if "<<'END'" in lines[0] else 1
            while lines[end - 1].endswith("\\"):
                end += 1
            found.append(("\n".join(lines[:end]), lines[end:]))
    return found


def prepare(folder: Path, files: Mapping[str, str], programs: Mapping[str, str]) -> None:
    """Fill a folder with files, and with programs that stand in for others, as shell scripts."""
    for name, text in files.items():
        (folder / name).write_text(text)
    (folder / "bin").mkdir()
    own = {"goodput-proxy": f'exec {sys.executable} -m goodput_proxy "$@"'}
    for name, script in {**own, **programs}.items():
        path = folder / "bin" / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)


def run(command: str, folder: Path) -> tuple[int, list[str]]:
    """Run a command in a prepared folder; return its exit code and its lines of standard error."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("GOODPUT_")}
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        cwd=folder,
        env=kept | {"PATH": f"{folder}/bin:{os.environ['PATH']}"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stderr.splitlines()
