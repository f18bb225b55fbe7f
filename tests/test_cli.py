"""The command line: what is printed where, and the exit code."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack, closing
from http.client import HTTPConnection
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
import structlog

from goodput_proxy import __main__ as entry
from goodput_proxy import __version__
from goodput_proxy.cli import main

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Hide the settings of whoever runs the tests."""
    for name in os.environ:
        if name.upper().startswith("GOODPUT_"):
            monkeypatch.delenv(name)
    return monkeypatch


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """Undo what a command does to logging: its handler writes to this test's standard error."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.fixture
def taken() -> Iterator[str]:
    """Return an address on which somebody listens already."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


# -- in process


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], ["help"]])
def test_help_names_the_commands(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """`--help` lists the commands on standard output and exits 0."""
    assert main(arguments) == 0
    out, err = capsys.readouterr()
    assert out.startswith("usage: goodput-proxy [COMMAND]")
    commands = ("serve", "check", "demo", "inject", "webhook", "gate")
    assert all(f"\n  {command} " in out for command in commands)
    assert err == ""


@pytest.mark.parametrize(
    ("command", "default"), [("serve", "500ms"), ("check", "500ms"), ("demo", "ramp")]
)
def test_help_of_a_command_lists_its_flags(
    command: str, default: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """`COMMAND --help` shows each flag with its description and default, and exits 0."""
    with pytest.raises(SystemExit) as caught:
        main([command, "--help"])
    out = " ".join(capsys.readouterr().out.split())
    assert caught.value.code == 0
    assert out.startswith(f"usage: goodput-proxy {command} ")
    assert "--slo.ttft" in out
    assert f"(default: {default})" in out


def test_help_of_the_gate(capsys: pytest.CaptureFixture[str]) -> None:
    """`gate --help` shows where to look and what must hold."""
    with pytest.raises(SystemExit) as caught:
        main(["gate", "--help"])
    out = capsys.readouterr().out
    assert caught.value.code == 0
    assert out.startswith("usage: goodput-proxy gate ")
    assert all(flag in out for flag in ("--proxy", "--for", "--prometheus", "--range", "--min"))


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """`--version` prints name and version."""
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"goodput-proxy {__version__}\n"


def test_unknown_command(capsys: pytest.CaptureFixture[str]) -> None:
    """A command that does not exist is named beside those that do, with exit code 2."""
    assert main(["srve"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("goodput-proxy: unknown command 'srve'; there are serve, check")
    assert err.count("\n") == 1


def test_check_prints_the_policy(capsys: pytest.CaptureFixture[str]) -> None:
    """`check` prints what the settings amount to and exits 0."""
    assert main(["check", "--slo.ttft", "2s"]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines() == [
        "class    match       preset  ttft  itl    stall  e2e  objective",
        "default  everything  -       2s    100ms  -      -    0.95",
    ]
    assert err == ""


def test_check_tells_the_class_of_requests(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """`check --request` adds a paragraph for each request; oddities go to standard error."""
    path = tmp_path / "slo.yaml"
    path.write_text("slo_classes: [{name: a, match: {path: v1}}]")
    asked = ["--request", "model=m", f"--config={path}", "--request=path=/health,method=get"]
    assert main(["check", *asked, "--slo.itl", "none"]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines() == [
        "class    match            preset  ttft   itl  stall  e2e  objective",
        "a        path=v1          -       -      -    -      -    0.95",
        "default  everything else  -       500ms  -    -      -    0.95",
        "",
        "POST /v1/chat/completions",
        "  inference: api chat, model m",
        "  a: no, path '/v1/chat/completions' is not 'v1'",
        "  default: yes, no other class takes it",
        "  judged by ttft 500ms; objective 0.95",
        "",
        "GET /health",
        "  not inference (not judged, counted as health)",
    ]
    assert err == (
        "goodput-proxy: warning: slo_classes.0.match.path: 'v1' takes nothing:"
        " paths begin with a slash\n"
    )


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--request", "llama"], "--request: 'llama' is not KEY=VALUE with a key of "),
        (["--slo.ttft=1s", "--request"], "argument --request: expected one argument"),
        (["--req", "model=m"], "unrecognized arguments: --req model=m"),
        (["--request", "model=m", "--slo.preset", "chat"], "slo.preset: 'chat' is not a preset"),
    ],
)
def test_check_of_what_is_unusable(
    arguments: list[str], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A request that cannot be read is as bad as a setting: one line, exit code 1, no table."""
    assert main(["check", *arguments]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"goodput-proxy: {problem}")
    assert err.count("\n") == 1


def test_only_check_takes_requests(capsys: pytest.CaptureFixture[str]) -> None:
    """A request is no setting: `serve` does not know it, the help of `check` shows it."""
    assert main(["serve", "--request", "model=m"]) == 2
    assert "unrecognized arguments: --request" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["check", "--help"])
    assert "--request KEY=VALUE,..." in capsys.readouterr().out


TWO_LINES = """\
goodput-proxy: slo.ttft: '500' has no unit: a duration is a number with a unit, \
such as 500ms, 1.5s, 2m or 1h
goodput-proxy: slo.itl: '1h3' is not a duration: a duration is a number with a unit, \
such as 500ms, 1.5s, 2m or 1h
"""


@pytest.mark.parametrize(("command", "code"), [("check", 1), ("serve", 2), ("demo", 2), ("", 2)])
def test_unusable_settings_cost_one_line_each(
    command: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every problem has its own line on standard error; `check` answers no, others fail."""
    assert main([*command.split(), "--slo.ttft=500", "--slo.itl=1h3"]) == code
    assert capsys.readouterr() == ("", TWO_LINES)


def test_check_of_a_bad_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`check --config` names the path of the key that is wrong and exits 1."""
    path = tmp_path / "goodput.yaml"
    path.write_text("slo_classes: [{name: chat, ttfb: 1s}]")
    assert main(["check", "--config", str(path)]) == 1
    assert capsys.readouterr().err == "goodput-proxy: slo_classes.0.ttfb: unknown setting\n"


@pytest.mark.parametrize(
    ("field", "flag", "other"),
    [
        ("listen", "--listen", "--admin-listen"),
        ("admin_listen", "--admin-listen", "--listen"),
    ],
)
def test_port_in_use(
    field: str, flag: str, other: str, taken: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """An address that cannot be had is one line with its field, and exit code 2."""
    assert main(["serve", flag, taken, other, "127.0.0.1:0"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err == (
        f"goodput-proxy: {field}: cannot listen on {taken}: address already in use;"
        f" choose another with {flag}\n"
    )


def test_host_that_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    """A host that cannot be a name is one line, too."""
    assert main(["--listen=a..b:0", "--admin-listen=127.0.0.1:0"]) == 2
    err = capsys.readouterr().err
    assert err == "goodput-proxy: listen: cannot listen on a..b:0: not a host name\n"


def test_the_entry_point_exits_with_the_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The console script takes the process's arguments and exits with the command's code."""
    monkeypatch.setattr(sys, "argv", ["goodput-proxy", "nope"])
    with pytest.raises(SystemExit) as caught:
        entry.main()
    assert caught.value.code == 2
    assert "unknown command 'nope'" in capsys.readouterr().err


# -- as a process


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "goodput_proxy", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


class Serving:
    """A `serve` process that listens; its log is read line by line."""

    def __init__(self, *arguments: str) -> None:
        anywhere = ("--listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0", "--limits.connections=99")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "goodput_proxy", "serve", *anywhere, *arguments],
            stderr=subprocess.PIPE,
            text=True,
        )
        listening = self.read_until("listening")
        self.admin_url = str(listening["admin_url"])

    def read_until(self, event: str) -> dict[str, Any]:
        """Return the next log line with this event."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            entry: dict[str, Any] = json.loads(line)
            if entry["event"] == event:
                return entry
        raise AssertionError(f"the process ended without {event!r}")

    def wait(self) -> tuple[int, list[str]]:
        """Return the exit code and the events that were left."""
        _, rest = self.process.communicate()
        return self.process.returncode, [json.loads(line)["event"] for line in rest.splitlines()]


@pytest.fixture
def serve() -> Iterator[Callable[..., Serving]]:
    """Return a function that starts a proxy, which is ended whatever becomes of the test."""
    with ExitStack() as stack:

        def start(*arguments: str) -> Serving:
            serving = Serving(*arguments)
            stack.callback(serving.process.kill)
            return serving

        yield start


def test_exit_codes_of_the_process() -> None:
    """The process exits as `main` returns, and keeps the two outputs apart."""
    good, bad = run("check"), run("--nope")
    assert (good.returncode, good.stderr) == (0, "")
    assert good.stdout.startswith("class ")
    assert (bad.returncode, bad.stdout) == (2, "")
    assert bad.stderr == "goodput-proxy: unrecognized arguments: --nope\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_serve_well(number: signal.Signals, serve: Callable[..., Serving]) -> None:
    """SIGTERM and Ctrl-C drain and stop; the exit code is 0 and every log line is JSON."""
    proxy = serve()
    with closing(HTTPConnection(urlsplit(proxy.admin_url).netloc)) as admin:
        admin.request("GET", "/healthz")
        assert admin.getresponse().read() == b"ok\n"
    proxy.process.send_signal(number)
    assert proxy.wait() == (0, ["draining", "stopped"])


def test_a_second_signal_cuts_the_drain_short(serve: Callable[..., Serving]) -> None:
    """Who asks twice does not wait for the drain."""
    proxy = serve("--drain.delay=1h")
    proxy.process.send_signal(signal.SIGTERM)
    proxy.read_until("draining")
    proxy.process.send_signal(signal.SIGTERM)
    assert proxy.wait() == (128 + signal.SIGTERM, ["forced to stop"])
