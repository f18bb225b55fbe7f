"""The compiled build of the checkout, made when it is asked for and kept as long as it is new.

It lies below `build/`, beside the editable install and not in it: who wants it puts its folder
in front of the import path (`environment`).
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]
_FOLDER = _ROOT / "build" / "compiled" / (sys.implementation.cache_tag or "python")
_DONE = _FOLDER / ".done"


def missing() -> str | None:
    """Return what keeps the build from being made here, None when nothing does."""
    compiler = (sysconfig.get_config_var("CC") or "cc").split()[0]
    if not shutil.which(compiler):
        return f"no C compiler {compiler} here"
    if not Path(sysconfig.get_path("include"), "Python.h").exists():
        return "no headers of Python here"
    for module in ("hatchling", "mypyc", "setuptools"):
        if importlib.util.find_spec(module) is None:
            return f"no Python module {module} here"
    return None


def build() -> Path:
    """Return the folder of the compiled package, made anew when a source is newer."""
    sources = [*(_ROOT / "goodput_proxy").rglob("*.py"), *(_ROOT / "tools").glob("*.py")]
    newest_s = max(path.stat().st_mtime for path in [*sources, _ROOT / "pyproject.toml"])
    if not _DONE.exists() or _DONE.stat().st_mtime < newest_s:
        shutil.rmtree(_FOLDER, ignore_errors=True)
        with tempfile.TemporaryDirectory() as name:
            subprocess.run(
                [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", name],
                cwd=_ROOT,
                env={**os.environ, "GOODPUT_COMPILE": "1"},
                stdout=subprocess.DEVNULL,
                check=True,
            )
            (wheel,) = Path(name).glob("*.whl")
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(_FOLDER)
        _DONE.touch()
    return _FOLDER


def environment(folder: Path) -> dict[str, str]:
    """Return the variables with which Python finds the package of this folder first."""
    return {"PYTHONPATH": str(folder), "PYTHONSAFEPATH": "1"}
