"""The commands of docs/load-tools.md, as its readers type them.

What is tested is what is documented: nothing but addresses is replaced.
"""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "load-tools.md"
PROXY_PORT, ADMIN_PORT = 9000, 9001


def find_command(program: str) -> str:
    """Return the first command of the page that runs a program, joined to one line."""
    typed = re.findall(r"^\$ ((?:.*\\\n)*.*)$", PAGE.read_text("utf-8"), re.MULTILINE)
    for command in typed:
        line = re.sub(r"\\\n\s*", "", command)
        # Variables may stand before the program.
        if re.match(rf"(?:\w+=\S+ )*{re.escape(program)} ", line):
            return line
    raise LookupError(f"{PAGE.name} runs no {program}")


def point_at(command: str, port: int) -> str:
    """Let a command of the page send to another port of this machine."""
    moved = re.sub(rf"(127\.0\.0\.1:|port=){PROXY_PORT}\b", rf"\g<1>{port}", command)
    if moved == command:
        raise LookupError(f"no address in {command!r}")
    return moved


def find_limits() -> list[str]:
    """Return the flags by which the page's proxy gets its SLO."""
    return re.findall(r"--slo\.\w+ \S+", find_command("goodput-proxy serve"))
