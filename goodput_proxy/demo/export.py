"""What is kept of a demonstration: a folder with the summary as JSON and as a picture.

The picture needs Pillow, which is no dependency of the proxy but the extra `plot`. The rule: what
is missing is said before the run, in a sentence that tells what to do, and the JSON does without.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING

from goodput_proxy.settings import ConfigError

from .document import describe_run, describe_sweep, encode
from .plot import Point
from .report import promise, smooth

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from .document import Run, Sweep
    from .outcome import Climb, Outcome
    from .scenarios import Scenario
    from .terminal import Terminal


class Export:
    """Writes `NAME.json` and `NAME.png`, or nothing where no folder is given."""

    def __init__(self, folder: Path | None, terminal: Terminal, *, pictures: bool) -> None:
        self._folder = folder
        self._terminal = terminal
        self._pictures = pictures

    @classmethod
    def prepare(cls, folder: Path | None, terminal: Terminal) -> Export:
        """Make the folder, and say so if there will be no picture.

        Raises:
            ConfigError: when the folder cannot be made.
        """
        if folder is None:
            return cls(None, terminal, pictures=False)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _cannot_write(folder, error) from None
        pictures = find_spec("PIL") is not None
        if not pictures:
            terminal.write(
                f"There will be no picture in {folder}, only JSON, since Pillow is missing; install"
                f" it with: {sys.executable} -m pip install pillow",
                "",
            )
        return cls(folder, terminal, pictures=pictures)

    def keep_run(self, scenario: Scenario, seed: int, outcome: Outcome) -> None:
        """Write the summary of a run.

        Raises:
            ConfigError: when a file cannot be written.
        """

        def draw() -> bytes:
            from .picture import draw_run  # noqa: PLC0415 -- needs the extra

            return draw_run(smooth(outcome.samples), *_titles(scenario, ""))

        document = describe_run(scenario, seed, outcome)
        self._write(scenario.name, document, draw if outcome.samples else None)

    def keep_sweep(self, scenario: Scenario, seed: int, sweep: Climb) -> None:
        """Write the summary of a sweep.

        Raises:
            ConfigError: when a file cannot be written.
        """

        def draw() -> bytes:
            from .picture import draw_sweep  # noqa: PLC0415 -- needs the extra

            points = [
                Point(level.at_s, level.users, level.throughput_rps, level.goodput_rps)
                for level in sweep.levels
            ]
            return draw_sweep(points, sweep.knee, *_titles(scenario, ", a sweep"))

        document = describe_sweep(scenario, seed, sweep)
        self._write(f"{scenario.name}-sweep", document, draw if sweep.levels else None)

    def _write(self, name: str, document: Run | Sweep, draw: Callable[[], bytes] | None) -> None:
        if self._folder is None:
            return
        contents = {f"{name}.json": encode(document)}
        if self._pictures and draw is not None:
            contents[f"{name}.png"] = draw()
        written = []
        for file_name, content in contents.items():
            path = self._folder / file_name
            try:
                path.write_bytes(content)
            except OSError as error:
                raise _cannot_write(path, error) from None
            written.append(str(path))
        self._terminal.write("", f"  Written: {' and '.join(written)}")


def _titles(scenario: Scenario, kind: str) -> tuple[str, str]:
    # Pillow's own font has no sign for "less or equal".
    return f"{scenario.name}{kind}", f"promised: {promise(scenario.limits, '<=')}"


def _cannot_write(path: Path, error: OSError) -> ConfigError:
    reason = (error.strerror or str(error)).lower()
    return ConfigError([f"out: cannot write {path}: {reason}; choose another folder with --out"])
