"""The build hook that compiles the path of a token: `GOODPUT_COMPILE=1 pip install .`.

mypyc turns the same modules that run as Python into C; nothing is written twice, and the
sources stay in the wheel. Without the variable the wheel is pure and needs no compiler; an
editable install is always pure.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

# What runs for every token. Modules whose classes are msgspec structs stay as they are: mypyc
# drops the arguments of a class statement, and they are C already.
MODULES = (
    *("stream/strings", "stream/sse", "stream/lines", "stream/template", "stream/reader"),
    *("timeline", "heads", "guard", "tap", "tapqueue", "realtime", "meters"),
    *("tunnel", "relay", "upstream"),
)

# Types only: of no use to the compiler are the plugins and checks of pyproject.toml.
_MYPY_OPTIONS = ("--config-file=", "--python-version=3.11", "--follow-imports=silent")


class CompileHook(BuildHookInterface):  # type: ignore[type-arg]
    """Add compiled modules to the wheel, when that is asked for."""

    def dependencies(self) -> list[str]:
        """Return the compiler, and what the types of the modules come from."""
        if not self._wanted:
            return []
        return ["mypy>=1.18", "setuptools>=80", *self.metadata.core.dependencies]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and say that the wheel is for this platform only."""
        if version == "editable" or not self._wanted:
            return
        built = Path(self.root, "build", "mypyc")
        for path in _compile(Path(self.root), built):
            build_data["force_include"][str(path)] = path.relative_to(built / "lib").as_posix()
        build_data["pure_python"] = False
        build_data["infer_tag"] = True

    @property
    def _wanted(self) -> bool:
        return self.target_name == "wheel" and os.environ.get("GOODPUT_COMPILE", "") == "1"


def _compile(root: Path, built: Path) -> list[Path]:
    """Return the shared objects, laid out below `built/lib` as they are imported."""
    # Only where it is wanted: a pure build has none of these.
    from mypyc.build import mypycify  # noqa: PLC0415
    from setuptools import Distribution  # noqa: PLC0415

    sources = [f"goodput_proxy/{module}.py" for module in MODULES]
    with contextlib.chdir(root):  # names of modules are those of the paths from here
        extensions = mypycify(
            [*_MYPY_OPTIONS, *sources],
            group_name="goodput_proxy",
            target_dir=str(built / "c"),
            debug_level="0",
        )
        command = Distribution({"ext_modules": extensions}).get_command_obj("build_ext")
        command.build_lib = str(built / "lib")
        command.build_temp = str(built / "temp")
        command.ensure_finalized()
        command.run()
        return [Path(path).resolve() for path in command.get_outputs()]
