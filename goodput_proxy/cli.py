"""The command line: which subcommand, its settings, its exit code.

Exit codes: 0 done; 1 the answer is no (`check`); 2 the command line, the environment, the
file or an address is unusable, with one line each on standard error.
"""

from __future__ import annotations

import asyncio
import sys
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import uvloop

from . import __version__
from .app import App
from .certificates import TlsError
from .check import render_policy
from .log import configure_logging
from .metrics import Metrics
from .settings import ConfigError, LogSettings, Settings
from .slo import build_policy
from .tls import load_credentials

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

_T = TypeVar("_T")

PROGRAM = "goodput-proxy"

_OVERVIEW = f"""\
usage: {PROGRAM} [COMMAND] [SETTINGS]

commands:
  serve   the sidecar (default when none is given)
  check   validate the settings and print the policy that they make
  demo    a simulated server, the proxy and a load that overwhelms it

`{PROGRAM} COMMAND --help` lists a command's settings.
`{PROGRAM} --version` prints the version."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code."""
    rest = list(sys.argv[1:] if arguments is None else arguments)
    if rest[:1] in (["-h"], ["--help"], ["help"]):
        print(_OVERVIEW)
        return 0
    if rest == ["--version"]:
        print(f"{PROGRAM} {__version__}")
        return 0
    name = rest.pop(0) if rest and not rest[0].startswith("-") else "serve"
    command = _COMMANDS.get(name)
    if command is None:
        return _complain([f"unknown command {name!r}; there are {', '.join(_COMMANDS)}"])
    try:
        return command(rest)
    except ConfigError as exc:
        return _complain(exc.problems)


def serve(arguments: Sequence[str]) -> int:
    """Run the sidecar until a signal ends it."""
    load = partial(Settings.load, arguments, f"{PROGRAM} serve")
    settings = load()
    configure_logging(settings.log)
    _run(App(settings, load).run())
    return 0


def check(arguments: Sequence[str]) -> int:
    """Print the effective policy; exit 1 when the settings are unusable."""
    try:
        settings = Settings.load(arguments, f"{PROGRAM} check")
        load_credentials(settings, Metrics(build_policy(settings), settings.limits.models))
    except ConfigError as exc:
        _complain(exc.problems)
        return 1
    except TlsError as exc:
        _complain([str(exc)])
        return 1
    print(render_policy(settings))
    return 0


def demo(arguments: Sequence[str]) -> int:
    """Show goodput parting from throughput; exit 1 when proxy and clients counted differently."""
    from .demo.run import run_demo  # noqa: PLC0415 -- the sidecar does not need it
    from .demo.settings import DemoSettings  # noqa: PLC0415

    settings = DemoSettings.load(arguments, f"{PROGRAM} demo")
    configure_logging(LogSettings(level="warning", json_lines=False))
    return _run(run_demo(settings.options()))


_COMMANDS: dict[str, Callable[[Sequence[str]], int]] = {
    "serve": serve,
    "check": check,
    "demo": demo,
}


def _run(work: Coroutine[None, None, _T]) -> _T:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


def _complain(problems: Sequence[str]) -> int:
    for problem in problems:
        print(f"{PROGRAM}: {problem}", file=sys.stderr)
    return 2
