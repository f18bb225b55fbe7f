"""The image, as far as it goes without a container engine: its file, its contents, its command."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conftest import skip_or_fail
from tests.integration.fake_upstream import FakeUpstream, connect
from tests.integration.harness import DONE, FINISH, SSE_HEAD, get, post, token
from tests.waiting import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ROOT = Path(__file__).parent.parent
DOCKERFILE = (ROOT / "Dockerfile").read_text()
COPIED = {
    source
    for line in re.findall(r"^COPY (?!--from)(.*)$", DOCKERFILE, re.MULTILINE)
    for source in line.split()[:-1]
}
# Compiling takes a minute, so it is left to the pipeline; the rest is the same without it.
COMPILES = os.environ.get("GOODPUT_REQUIRE_SERVERS") == "1"
MB = 1_000_000
OFFLINE = re.compile(r"NewConnectionError|ConnectTimeout|NameResolutionError|name resolution")


def instruction(name: str) -> str:
    """Return the last use of an instruction."""
    return str(re.findall(rf"^{name} (.*)$", DOCKERFILE, re.MULTILINE)[-1])


def test_dockerfile_is_clean() -> None:
    """Hadolint has no complaint."""
    hadolint = Path(sysconfig.get_path("scripts"), "hadolint")
    command = [str(hadolint), "Dockerfile"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_it_runs_as_nobody_in_particular() -> None:
    """A number, for Kubernetes cannot see whether a name is root."""
    user, _, group = instruction("USER").partition(":")
    assert int(user) > 1000
    assert int(group) > 1000


def test_what_it_is_made_of_reaches_the_builder() -> None:
    """Every path that is copied exists and is not left out of the build's context."""
    kept = {
        line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] == "!"
    }
    assert kept == COPIED
    assert all((ROOT / path).exists() for path in COPIED)


@pytest.fixture
async def upstream() -> AsyncIterator[FakeUpstream]:
    """Return a recording upstream that listens."""
    upstream = FakeUpstream()
    await upstream.start()
    yield upstream
    await upstream.stop()


@pytest.fixture
def environment() -> dict[str, str]:
    """Return this process's variables without those that concern the project or Python."""
    return {k: v for k, v in os.environ.items() if not k.startswith(("GOODPUT_", "PYTHON"))}


@pytest.fixture
def installed(tmp_path: Path, environment: dict[str, str]) -> Path:
    """Return a folder that the Dockerfile's own command has filled, with this Python."""
    python, source, folder = (tmp_path / name for name in ("python", "source", "image"))
    python.mkdir()
    (python / "python3").symlink_to(Path(sys.executable).resolve())
    # The script builds where it stands: what an earlier build left there is none of its business.
    source.mkdir()
    for name in sorted(COPIED):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, source / name)
    (command,) = re.findall(r"^RUN (.* )/opt/goodput-proxy$", DOCKERFILE, re.MULTILINE)
    if not COMPILES:
        command = command.replace("GOODPUT_COMPILE=1 ", "")
    done = subprocess.run(
        ["/bin/sh", "-c", f"{command}{folder}"],
        cwd=source,
        env=environment | {"PATH": f"{python}:{environment['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode and OFFLINE.search(done.stdout + done.stderr):
        skip_or_fail("no package index to install the image's packages from")
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def check_content(folder: Path) -> None:
    """Check what the folder has besides a command that works, and that its size is what is told."""
    found = {path: path.lstat().st_size for path in folder.rglob("*")}
    (told,) = re.findall(r"adds (\d+) MB", (ROOT / "docs" / "kubernetes.md").read_text())
    compiled = [path for path in found if path.match("goodput_proxy/relay.*.so")]

    assert folder / "bin" / "pip" not in found
    assert bool(compiled) is COMPILES
    assert sum(found.values()) == pytest.approx(int(told) * MB, rel=0.2)


@pytest.mark.timeout(300)
async def test_start_command(
    upstream: FakeUpstream, installed: Path, environment: dict[str, str]
) -> None:
    """What the locks install serves a stream by the image's own command, and ends on SIGTERM."""
    check_content(installed)
    program, *arguments = json.loads(instruction("ENTRYPOINT")) + json.loads(instruction("CMD"))
    process = await asyncio.create_subprocess_exec(
        str(installed / "bin" / program),
        *arguments,
        *("--upstream", upstream.url, "--listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0"),
        stderr=asyncio.subprocess.PIPE,
        env=environment,
        cwd="/",
    )
    try:
        async with asyncio.timeout(PATIENCE_S):
            assert process.stderr is not None
            line = json.loads(await process.stderr.readline())
            client = await connect(int(line["proxy_url"].rpartition(":")[2]))
            client.send(post(b"{}"))
            server = await upstream.accept()
            await server.request()
            body = token() + FINISH + DONE
            server.send(SSE_HEAD, b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))
            assert (await client.answer()).body == body
            client.close()
            admin_port = int(line["admin_url"].rpartition(":")[2])
            metrics = (await get(admin_port, "/metrics")).body.decode()
            process.send_signal(signal.SIGTERM)
            await process.communicate()
        assert 'verdict="good_partial"} 1.0' in metrics
        assert process.returncode == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()
