"""The command line: which subcommand, its settings, its exit code.

Exit codes: 0 done; 1 the answer is no (`check`, `gate`); 2 the command line, the environment, the
file or an address is unusable, with one line each on standard error; 3 there is no answer (`gate`);
130 or 143 when a second SIGINT or SIGTERM has cut running requests off (`serve`).
"""

from __future__ import annotations

import asyncio
import sys
from argparse import ArgumentError, ArgumentParser
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import uvloop

from . import __version__
from .app import App
from .certificates import TlsError
from .check import CheckSettings, render_policy
from .doubts import find_doubts
from .explain import explain, parse_sample
from .log import configure_logging
from .metrics import Metrics
from .policy import build_policy
from .settings import ConfigError, LogSettings, Settings
from .tls import load_credentials

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from .explain import Sample

_T = TypeVar("_T")

PROGRAM = "goodput-proxy"
_INTERRUPTED = 130  # what a shell reports of a program that Ctrl-C has ended

_OVERVIEW = f"""\
usage: {PROGRAM} [COMMAND] [SETTINGS]

commands:
  serve   the sidecar (default when none is given)
  check   validate the settings and print the policy that they make
  demo    a simulated server, the proxy and a load that overwhelms it
  inject  Kubernetes manifests in, the same with the sidecar out
  webhook the same for every pod that asks for it, while it is created
  gate    whether the goodput ratio of a window is good enough, for pipelines

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
    return _run(App(settings, load).run())


def check(arguments: Sequence[str]) -> int:
    """Print the effective policy, and the class of each request that is asked about.

    Exit 1 when the settings are unusable; what is merely odd is told and no failure.
    """
    try:
        samples, rest = _take_samples(arguments)
        settings = CheckSettings.load(rest, f"{PROGRAM} check")
    except ConfigError as exc:
        _complain(exc.problems)
        return 1
    policy = build_policy(settings)
    try:
        load_credentials(settings, Metrics(policy, settings.limits.models))
    except TlsError as exc:
        _complain([str(exc)])
        return 1
    print(render_policy(settings))
    for sample in samples:
        print("", *explain(sample, policy), sep="\n")
    for doubt in find_doubts(policy):
        print(f"{PROGRAM}: warning: {doubt}", file=sys.stderr)
    return 0


def _take_samples(arguments: Sequence[str]) -> tuple[list[Sample], list[str]]:
    """Return the requests that are asked about, which are no settings, and what remains."""
    parser = ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--request", action="append", default=[])
    try:
        asked, rest = parser.parse_known_args(arguments)
        return [parse_sample(text) for text in asked.request], rest
    except ArgumentError as exc:
        raise ConfigError([str(exc)]) from None
    except ValueError as exc:
        raise ConfigError([f"--request: {exc}"]) from None


def demo(arguments: Sequence[str]) -> int:
    """Show goodput parting from throughput; exit 1 when proxy and clients counted differently."""
    from .demo.run import run_demo  # noqa: PLC0415 -- the sidecar does not need it
    from .demo.settings import DemoSettings  # noqa: PLC0415

    settings = DemoSettings.load(arguments, f"{PROGRAM} demo")
    configure_logging(LogSettings(level="warning", json_lines=False))
    return _run(run_demo(settings.options()))


def inject(arguments: Sequence[str]) -> int:
    """Add the sidecar to Kubernetes manifests; exit 2 when one would not work with it."""
    from .kubernetes.command import run_inject  # noqa: PLC0415 -- the sidecar does not need it
    from .kubernetes.settings import InjectSettings  # noqa: PLC0415

    return run_inject(InjectSettings.load(arguments, f"{PROGRAM} inject"))


def webhook(arguments: Sequence[str]) -> int:
    """Answer the API server's admission reviews until a signal ends it."""
    from .kubernetes.settings import WebhookSettings  # noqa: PLC0415
    from .kubernetes.webhook import run_webhook  # noqa: PLC0415

    settings = WebhookSettings.load(arguments, f"{PROGRAM} webhook")
    configure_logging(settings.log)
    _run(run_webhook(settings))
    return 0


def gate(arguments: Sequence[str]) -> int:
    """Judge a window of a running proxy, or of the past."""
    from .gate.run import run_gate  # noqa: PLC0415 -- the sidecar does not need it
    from .gate.settings import GateSettings  # noqa: PLC0415

    settings = GateSettings.load(arguments, f"{PROGRAM} gate")
    try:
        return _run(run_gate(settings))
    except KeyboardInterrupt:
        return _INTERRUPTED


_COMMANDS: dict[str, Callable[[Sequence[str]], int]] = {
    "serve": serve,
    "check": check,
    "demo": demo,
    "inject": inject,
    "webhook": webhook,
    "gate": gate,
}


def _run(work: Coroutine[None, None, _T]) -> _T:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


def _complain(problems: Sequence[str]) -> int:
    for problem in problems:
        print(f"{PROGRAM}: {problem}", file=sys.stderr)
    return 2
