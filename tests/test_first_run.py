"""What a new user can run into on the way to the demonstration is a sentence that says what to do.

That no fit Python is found is tested with the rest of `tools/find_python.sh`, in test_packaging.py.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from goodput_proxy.cli import main

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[1]
LOCKS = ("runtime", "build")


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """Return a folder with what `make demo` looks at; the programs of its `.venv` are fakes."""
    if shutil.which("make") is None:
        pytest.skip("needs make")
    (tmp_path / "requirements").mkdir()
    (tmp_path / "goodput_proxy").mkdir()
    (tmp_path / ".venv/bin").mkdir(parents=True)
    names = ["Makefile", "pyproject.toml", "goodput_proxy/__init__.py"]
    for name in [*names, *(f"requirements/{lock}.txt" for lock in LOCKS)]:
        shutil.copy(ROOT / name, tmp_path / name)
    for program in ("python", "goodput-proxy"):
        fake = tmp_path / ".venv/bin" / program
        fake.write_text(f'#!/bin/sh\necho "{program} $*"\n[ {program} != python ]\n')
        fake.chmod(0o755)
    (tmp_path / ".venv/.python").write_text("default\n")
    return tmp_path


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run make there, with nothing of a make that runs the tests."""
    mine = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    for name in ("PYTHON", "FOR", "ARGS"):
        mine.pop(name, None)
    return subprocess.run(
        ["make", *arguments], cwd=folder, env=mine, capture_output=True, text=True, check=False
    )


def test_without_a_network(clone: Path) -> None:
    """What pip says stands, one sentence says what to do, and the demonstration does not run."""
    done = make(clone, "demo")
    assert done.returncode != 0
    assert "python -m pip" in done.stdout
    (sentence,) = [line for line in done.stderr.splitlines() if "pip" in line]
    assert "needs a network, or PIP_INDEX_URL with an index that can be reached" in sentence
    assert "goodput-proxy demo" not in done.stdout
    assert not (clone / ".venv/.runtime").exists()


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        ([], "demo --for auto"),
        (["FOR=20s"], "demo --for 20s"),
        (["ARGS=--scenario overload --seed 3"], "demo --for auto --scenario overload --seed 3"),
    ],
)
def test_make_hands_arguments_on(clone: Path, arguments: list[str], command: str) -> None:
    """`make demo ARGS=...` is the command with these flags, and lasts as long as its scenario."""
    (clone / ".venv/.runtime").touch()
    done = make(clone, "demo", *arguments)
    assert (done.returncode, done.stdout) == (0, f"goodput-proxy {command}\n")


def test_without_make() -> None:
    """The first screen of the README has the commands that do without it."""
    top = "\n".join((ROOT / "README.md").read_text().splitlines()[:20])
    assert "Without make" in top
    assert "pip install ." in top
    assert ".venv/bin/goodput-proxy demo" in top


@pytest.fixture
def taken() -> Iterator[str]:
    """Return an address that somebody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize(
    ("command", "flag"),
    [
        (["demo"], "--listen"),
        (["demo"], "--admin-listen"),
        (["demo", "--sweep"], "--listen"),
        (["demo", "--server-only"], "--listen"),
        (["serve", "--admin-listen=127.0.0.1:0"], "--listen"),
        (["serve", "--listen=127.0.0.1:0"], "--admin-listen"),
    ],
)
def test_a_port_that_is_taken(
    command: list[str], flag: str, taken: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The field, the address and the flag that chooses another stand in one line."""
    assert main([*command, flag, taken]) == 2
    field = flag.removeprefix("--").replace("-", "_")
    assert capsys.readouterr().err == (
        f"goodput-proxy: {field}: cannot listen on {taken}: address already in use;"
        f" choose another with {flag}\n"
    )
