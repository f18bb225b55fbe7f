"""Let AIPerf, vLLM's client and the proxy count the same requests, and compare what they say.

Owns: the order of things, and the report of `make verify-aiperf`. First a load on which everybody
has to agree, request by request; then the scenarios on which they are known not to. Run from the
project's root as `python -m tests.agreement.verify_agreement`; the exit code is 0 when every line
says `ok`, that is, when nobody disagrees but where the list of scenarios says so; then `--write`
puts the tables into `docs/agreement.md`.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from bench.machine import describe
from tests.agreement import clients, load, page, scenarios
from tests.agreement.compare import LoadResult, check_load, check_row, rows_of
from tests.agreement.site import site
from tests.real.ground import Report
from tests.real.processes import SetupError

if TYPE_CHECKING:
    from tests.agreement.compare import Row

ROOT = Path(__file__).resolve().parents[2]
VENV_VARIABLE = "VERIFY_AIPERF_VENV"
COMMAND = "make verify-aiperf"
LIMIT_S = 1800
# Verdicts must agree each time; means are spoilt by whatever else the machine does.
ATTEMPTS = 3

HISTOGRAMS = {
    "ttft": "goodput_time_to_first_token_seconds",
    "itl": "goodput_inter_token_latency_seconds",
    "e2e": "goodput_request_duration_seconds",
}


def measure_load(python: Path, directory: Path) -> LoadResult:
    """Send the load once."""
    slo = ("--slo.ttft", f"{load.TTFT_LIMIT_MS:g}ms", "--slo.itl", f"{load.ITL_LIMIT_MS:g}ms")
    with site(directory, *slo, "--slo.e2e", f"{load.E2E_LIMIT_MS:g}ms") as running:
        before = running.settled()
        run = clients.run_aiperf(
            python,
            running.proxy.url,
            [plan.prompt for plan in load.PLANS],
            directory / "aiperf",
            {
                "time_to_first_token": load.TTFT_LIMIT_MS,
                "inter_token_latency": load.ITL_LIMIT_MS,
                "request_latency": load.E2E_LIMIT_MS,
            },
            concurrency=load.CONCURRENCY,
            server_count=True,
        )
        grown = running.settled() - before
        return LoadResult(
            aiperf=run,
            judged=running.judged(),
            good=int(grown.total("goodput_requests_total", verdict="good")),
            requests=int(grown.total("goodput_requests_total")),
            means_ms={
                name: 1000 * grown.total(f"{metric}_sum") / max(1, grown.total(f"{metric}_count"))
                for name, metric in HISTOGRAMS.items()
            },
        )


def measure_scenarios(python: Path, directory: Path) -> list[Row]:
    """Play every scenario to AIPerf twice, and to vLLM's client."""
    ttft_ms, itl_ms = scenarios.TTFT_LIMIT_MS, scenarios.ITL_LIMIT_MS
    prompts = [scenario.prompt for scenario in scenarios.SCENARIOS]
    with site(directory, "--slo.ttft", f"{ttft_ms:g}ms", "--slo.itl", f"{itl_ms:g}ms") as running:
        own, counted = (
            clients.run_aiperf(
                python,
                running.proxy.url,
                prompts,
                directory / ("usage" if server_count else "tokenizer"),
                {"time_to_first_token": ttft_ms, "inter_token_latency": itl_ms},
                concurrency=1,
                server_count=server_count,
            )
            for server_count in (False, True)
        )
        vllm = clients.run_vllm(python, running.proxy.url, prompts)
        running.settled()
        return rows_of((own.records, counted.records), vllm, running.judged(), running.prompts())


def facts(python: Path, attempt: int) -> dict[str, str]:
    """Return what the numbers were measured on and with."""
    known = describe(())
    return {
        "command": f"`{COMMAND}`, {known['date']}",
        "machine": f"{known['machine']}, {known['kernel']}, {known['python']}",
        "compared": clients.versions(python),
        "load of the machine": f"average {os.getloadavg()[0]:.1f}; attempt {attempt} of {ATTEMPTS}",
    }


def verify(python: Path, directory: Path, report: Report, *, write: bool) -> None:
    """Measure, compare, and write the page if that is wanted."""
    report.begin("the same load")
    for attempt in range(1, ATTEMPTS + 1):
        result = measure_load(python, directory / f"load-{attempt}")
        if result.means_agree() or result.unequal or attempt == ATTEMPTS:
            found = facts(python, attempt)
            break
        apart = f"TTFT {result.ttft_difference_ms:+.3f}, ITL {result.difference_ms['itl']:+.3f} ms"
        busy = f"load average {os.getloadavg()[0]:.1f}"
        report.say("--", f"attempt {attempt}", f"means differ ({apart}; {busy}): measured again")
    for check in check_load(result):
        report.check(check.holds, check.name, check.detail)
    report.begin("known disagreements")
    rows = measure_scenarios(python, directory / "scenarios")
    for row in rows:
        failed = [check for check in check_row(row) if not check.holds]
        said = f"AIPerf {row.aiperf[0].outcome} / {row.aiperf[1].outcome}, vLLM {row.vllm.outcome}"
        detail = "; ".join(f"{check.name}: {check.detail}" for check in failed)
        seen = f"{said}, proxy {row.judged[0].outcome}"
        report.check(not failed, f"{row.scenario.number}. {row.scenario.name}"[:46], detail or seen)
    if write and not report.failed:
        page.write(page.render_load(result, found), page.render_scenarios(rows))
        report.say("--", "written", str(page.PAGE.relative_to(ROOT)))


def main() -> int:
    """Prepare, compare, report; give the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.agreement.verify_agreement",
        description=(__doc__ or "").splitlines()[0],
    )
    parser.add_argument("--write", action="store_true", help="write the tables of the page")
    parser.add_argument(
        "--venv",
        type=Path,
        default=Path(os.environ.get(VENV_VARIABLE) or ROOT / ".venv-aiperf"),
        help=f"the environment with AIPerf (default: {VENV_VARIABLE} or .venv-aiperf)",
    )
    args = parser.parse_args()
    report = Report()

    def too_long(*_: object) -> None:
        report.check(False, "run", f"not done within {LIMIT_S} s")  # noqa: FBT003
        sys.exit(1)

    # Both leave through every `finally`, so that what was started is ended.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    signal.signal(signal.SIGALRM, too_long)
    try:
        with tempfile.TemporaryDirectory(prefix="verify-aiperf-") as name:
            report.say("--", "environment", f"{args.venv} (the first run installs AIPerf)")
            python = clients.prepare(args.venv.absolute())
            report.say("--", "compared", clients.versions(python))
            signal.alarm(LIMIT_S)
            verify(python, Path(name), report, write=args.write)
            signal.alarm(0)
    except SetupError as error:
        report.check(False, "run", str(error))  # noqa: FBT003
    report.say("--", "done", f"{report.failed or 'nothing'} failed")
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
