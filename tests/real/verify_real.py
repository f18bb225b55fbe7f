"""Put the proxy in front of a real inference server and compare what both say.

Owns: the checks of `make verify-real` and their report. The server is Hugging Face's
`transformers serve` with a tiny random model, in a virtual environment of its own; see
`requirements.txt` for what the first run installs. Run from the project's root, with the project's
own Python, as `python -m tests.real.verify_real`; the exit code is 0 when every line says `ok`.

Why this server teaches something that a simulated one would not: nobody here wrote it, it sends its
role record before it has a slot for the request, its stream has no `[DONE]`, its tokens are bytes
(several to a piece of text, or none), it answers one request at a time so that others truly wait
or, started otherwise, several in one batch, and it stops generating when the client of a stream
leaves but not when any other client does.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import openai

from tests.real import counting, leaving, processes, traffic
from tests.real.ground import Report, Site

if TYPE_CHECKING:
    from tests.real.processes import Running

ROOT = Path(__file__).resolve().parents[2]
VENV_VARIABLE = "VERIFY_REAL_VENV"
CHECKS_LIMIT_S = 600
WARM_UP_LIMIT_S = 180.0  # a batching server makes its cache with the first request
# What a client meets when an answer is not what it should be: a failed check, not the end of all.
BROKEN = (OSError, EOFError, ValueError, http.client.HTTPException, openai.OpenAIError)

SLO = ("--slo.ttft", f"{leaving.TTFT_LIMIT_S * 1000:.0f}ms", "--slo.itl", "100ms")

Checks = tuple[Callable[[Site], None], ...]
COUNTED: Checks = (
    counting.check_streams,
    counting.check_unary,
    counting.check_completions,
    counting.check_responses,
    counting.check_bytes,
    counting.check_passthrough,
)
LEFT: Checks = (
    leaving.check_leaving,
    leaving.check_leaving_unary,
    counting.check_verdicts,
    leaving.check_death,
)
# With continuous batching no request waits for another, and one that cannot be sampled as it
# wishes is sampled otherwise: there is nothing to queue and nothing that fails.
SERVERS: tuple[tuple[str, tuple[str, ...], Checks], ...] = (
    ("one at a time", (), (*COUNTED, counting.check_failures, leaving.check_queue, *LEFT)),
    ("continuous batching", ("--continuous-batching",), (*COUNTED, *LEFT)),
)


def run(
    python: Path, directory: Path, flags: tuple[str, ...], checks: Checks, report: Report
) -> None:
    """Start both processes, make every check, end both processes."""
    failed_before = report.failed
    with contextlib.ExitStack() as ending:
        server = processes.start_server(python, directory, *flags)
        ending.callback(server.stop)
        proxy = processes.start_proxy(server.url, directory, *SLO)
        ending.callback(proxy.stop)
        # A batching server knows no least number of tokens: an answer could end with its first.
        sdk = traffic.Sdk(proxy.url, processes.MODEL_NAME, endless=bool(flags))
        ending.callback(sdk.close)
        site = Site(server, proxy, sdk, report)
        _warm_up(server)
        try:
            for check in checks:
                try:
                    check(site)
                except BROKEN as error:
                    report.check(False, check.__name__, f"{type(error).__name__}: {error}")  # noqa: FBT003
            sdk.close()
            code = proxy.stop()
            report.check(code == 0, "proxy stops on SIGTERM", f"exit code {code}")
        finally:
            if report.failed > failed_before:
                for each in (server, proxy):
                    sys.stdout.write(f"\n--- the end of {each.name}.log\n{each.log_tail()}\n")


def _warm_up(server: Running) -> None:
    """Pay for what torch and the SDK do only once, directly at the server, before times count."""
    sdk = traffic.Sdk(server.url, processes.MODEL_NAME, endless=True, limit_s=WARM_UP_LIMIT_S)
    for _ in range(2):
        sdk.stream_chat(20, include_usage=True)
        sdk.stream_completion(20, include_usage=True)
        sdk.stream_response(20)
    sdk.close()


def main() -> int:
    """Prepare, check, report; give the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.real.verify_real", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument(
        "--venv",
        type=Path,
        default=Path(os.environ.get(VENV_VARIABLE) or ROOT / ".venv-real"),
        help=f"the second virtual environment (default: {VENV_VARIABLE} or .venv-real)",
    )
    args = parser.parse_args()
    report = Report()

    def too_long(*_: object) -> None:
        report.check(False, "run", f"not done within {CHECKS_LIMIT_S} s")  # noqa: FBT003
        sys.exit(1)

    # Both leave through every `finally`, so that what was started is ended.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    signal.signal(signal.SIGALRM, too_long)
    try:
        with tempfile.TemporaryDirectory(prefix="verify-real-") as name:
            report.say("--", "second environment", f"{args.venv} (the first run installs torch)")
            python = processes.ensure_environment(args.venv.absolute())
            report.say("--", "server", processes.versions(python))
            processes.make_model(python, Path(name))
            signal.alarm(CHECKS_LIMIT_S)
            start = time.monotonic()
            for server, flags, checks in SERVERS:
                report.begin(server)
                run(python, Path(name), flags, checks, report)
            signal.alarm(0)
    except processes.SetupError as error:
        report.check(False, "run", str(error))  # noqa: FBT003
    else:
        report.table()
        took = time.monotonic() - start
        report.say("--", "done", f"{took:.0f} s, {report.failed or 'nothing'} failed")
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
