"""The command as a pipeline sees it: two outputs and an exit code."""

from __future__ import annotations

import asyncio
import io
import json
import signal
import subprocess
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from goodput_proxy.cli import main
from goodput_proxy.gate.proxy import RESTARTED
from goodput_proxy.gate.run import run_gate
from goodput_proxy.gate.settings import GateSettings
from tests.gate.past import START_S, remembering
from tests.gate.test_prometheus import PAST, RANGE_S
from tests.gate.test_proxy import exposition
from tests.integration.harness import post, sized

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.integration.conftest import StartProxy
    from tests.integration.harness import RunningProxy

ANSWER = sized(b'{"choices":[{"index":0}],"usage":{"completion_tokens":3}}')


async def gate(proxy: RunningProxy, *flags: str, bad: bool) -> tuple[int, str, str]:
    """Run the gate while requests come, and return its exit code and both outputs."""
    out, err = io.StringIO(), io.StringIO()
    settings = GateSettings.load([f"--proxy={proxy.app.admin_url}", "--for=300ms", *flags])
    task = asyncio.create_task(run_gate(settings, out, err))
    answer = sized(b"", b"503 No") if bad else ANSWER
    while not task.done():
        await proxy.exchange(post(b"{}"), answer)
    return task.result(), out.getvalue(), err.getvalue()


@pytest.mark.parametrize(
    ("bad", "flags", "code", "conclusion"),
    [
        (False, ("--min-requests=1",), 0, "ok: 0 s at http://"),
        (True, ("--min-requests=1",), 1, "below: default 0.00% < 95.00%: "),
        (True, ("--min-requests=1", "--min=0.1"), 1, "below: default 0.00% < 10.00%: "),
        (False, ("--min-requests=100000",), 3, "too few requests to judge"),
    ],
)
async def test_exit_codes(
    bad: bool,  # noqa: FBT001
    flags: tuple[str, ...],
    code: int,
    conclusion: str,
    start_proxy: StartProxy,
) -> None:
    """0 is good enough, 1 is below, 3 is too few to judge; the last line says which."""
    proxy = await start_proxy()
    found, out, err = await gate(proxy, *flags, bad=bad)

    assert found == code
    assert out.splitlines()[0].startswith("class ")
    assert out.splitlines()[-1].startswith(conclusion)
    assert err == ""


async def test_json(start_proxy: StartProxy) -> None:
    """`--output json` prints one object and nothing else."""
    proxy = await start_proxy()
    code, out, err = await gate(proxy, "--output=json", "--min-requests=1", bad=False)
    said = json.loads(out)

    assert (code, said["exit_code"], said["ok"], err) == (0, 0, True, "")
    assert said["all"]["ratio"] == 1.0
    assert said["all"]["verdicts"]["good_partial"] == said["all"]["requests"] > 0
    assert said["all"]["goodput_per_second"] == pytest.approx(
        said["all"]["requests"] / said["window_seconds"]
    )


@asynccontextmanager
async def admin(*expositions: str) -> AsyncIterator[tuple[str, asyncio.Event]]:
    """Serve one exposition after the other; return the URL, and an event of the first scrape."""
    left, scraped = list(expositions), asyncio.Event()

    async def handle(_: web.Request) -> web.Response:
        scraped.set()
        return web.Response(text=left.pop(0))

    app = web.Application()
    app.router.add_get("/metrics", handle)
    async with TestServer(app) as server:
        yield str(server.make_url("")), scraped


async def test_a_restart_is_told_to_people() -> None:
    """A window with a restart in it is judged by what is known, and standard error says so."""
    before, after = exposition(good=5, error=9, start_s=1.0), exposition(7, 0, start_s=2.0)
    out, err = io.StringIO(), io.StringIO()
    async with admin(before, after) as (url, _):
        flags = [f"--proxy={url}", "--for=1ms", "--min=0.9", "--min-requests=7"]
        code = await run_gate(GateSettings.load(flags), out, err)

    assert code == 0
    assert err.getvalue() == f"note: {RESTARTED}\n"


async def test_of_the_past(tmp_path: Path) -> None:
    """A Prometheus is asked for what was, and judged like a proxy."""
    async with remembering(tmp_path, PAST) as url:
        out = io.StringIO()
        flags = [f"--prometheus={url}", f"--range={RANGE_S}s", f"--at={START_S + RANGE_S}"]
        code = await run_gate(GateSettings.load(flags), out)

    assert code == 1
    default, gold, _, _, conclusion = out.getvalue().splitlines()[1:]
    assert default.split()[:6] == ["default", "800", "1.07", "1.33", "80.00%", "95.00%"]
    assert gold.split()[:7] == ["gold", "390", "0.58", "0.58", "90.00%", "80.00%", "ok"]
    assert conclusion == f"below: default 80.00% < 95.00%: 600 s at {url}"


@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        ([], "goodput-proxy: give either --proxy or --prometheus\n"),
        (["--proxy=http://127.0.0.1:1"], "goodput-proxy: proxy: http://127.0.0.1:1/metrics cannot"),
    ],
)
def test_no_answer_costs_one_line(
    flags: list[str], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """2 is for a command line or an address that leads nowhere; standard output stays empty."""
    assert main(["gate", *flags]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith(problem)


async def test_ctrl_c() -> None:
    """Who does not want to wait leaves no traceback behind."""
    async with admin(exposition(1, 0)) as (url, scraped):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "goodput_proxy", "gate", "--proxy", url, "--for=1h"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        await scraped.wait()
        process.send_signal(signal.SIGINT)
        assert await process.communicate() == (b"", b"")
    assert process.returncode == 130
