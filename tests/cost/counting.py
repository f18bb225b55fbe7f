"""What a token and a small request cost, counted: instructions and system calls, not seconds.

Counts do not mind what else the machine does. The program is started once and counted only
between two marks, so neither its start nor the first requests, which warm caches up, are in it.
Instructions are those outside the kernel (valgrind's callgrind); what the kernel does shows in the
number of system calls (strace).
"""

from __future__ import annotations

import asyncio
import platform
import re
import sysconfig
import tempfile
import zlib
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench import compiled
from tests.cost.lockstep import listening
from tests.integration.process import serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

    from tests.cost.lockstep import Server
    from tests.integration.process import ProxyProcess

PROXY = "goodput_proxy"
PURE, COMPILED = "pure", "compiled"
# Under valgrind an interpreter needs some ten times as long to start, more on a busy machine.
START_S = 120.0

_STREAMS = 8
_WARM_UP_TOKENS = 40
_CLIENTS = 5
_WARM_UP_REQUESTS = 10


@dataclass(frozen=True)
class Sizes:
    """How much is counted."""

    tokens: int = 480  # in each stream
    requests: int = 40  # of each client


@dataclass(frozen=True)
class Instructions:
    """Instructions outside the kernel."""

    per_token: float
    per_request: float


def environment_of(build: str) -> Mapping[str, str]:
    """Return the variables with which Python runs this build of the proxy."""
    found = compiled.environment(compiled.build()) if build == COMPILED else {}
    return {"PYTHONHASHSEED": "0", **found}


def key_of(build: str) -> str:
    """Return what an instruction count depends on, beside the code and its locked dependencies."""
    # Distributions build with profile-guided optimisation and do not say so: only the exact
    # version, its compiler and how it was configured tell two builds of one minor version apart.
    configured = zlib.crc32(str(sysconfig.get_config_var("CONFIG_ARGS")).encode())
    python = f"{platform.python_implementation()} {platform.python_version()}"
    how = f"{platform.python_compiler()}, {platform.machine()}, configured {configured:08x}"
    return f"{python}, {how}: {build}"


async def count_instructions(
    build: str = PURE, module: str = PROXY, sizes: Sizes | None = None
) -> Instructions:
    """Count with valgrind what `python -m MODULE` executes per token and per small request."""
    sizes = sizes or Sizes()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        valgrind = (
            *("valgrind", "--tool=callgrind", "--instr-atstart=no"),
            *(f"--callgrind-out-file={out}", f"--log-file={folder}/log"),
        )
        async with _proxy(valgrind, environment_of(build), module) as (server, proxy):
            dumps = 0

            async def mark() -> int:
                """Return what was executed since the last mark."""
                nonlocal dumps
                dumps += 1
                await _control(proxy, "--dump")
                text = out.with_name(f"out.{dumps}").read_text("utf-8")
                (total,) = re.findall(r"^totals: (\d+)", text, re.MULTILINE)
                return int(total)

            await _control(proxy, "--instr=on")
            return Instructions(
                per_token=await _per_token(server, proxy, sizes.tokens, mark),
                per_request=await _per_request(server, proxy, sizes.requests, mark),
            )


async def count_calls(sizes: Sizes | None = None) -> Counter[str]:
    """Count with strace the system calls of a token, in hundredths."""
    sizes = sizes or Sizes()
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "calls"
        # -D: the process that is started, and so can be ended, is the proxy and not strace.
        strace = ("strace", "-D", "-f", "-qq", "-o", str(log))
        async with _proxy(strace, environment_of(PURE), PROXY) as (server, proxy):
            seen = 0
            calls: Counter[str] = Counter()

            async def mark() -> int:
                nonlocal seen, calls
                lines = log.read_text("utf-8", "replace").splitlines()
                calls = Counter(re.findall(r"^\d+ +(\w+)\(", "\n".join(lines[seen:]), re.MULTILINE))
                seen = len(lines)
                return calls.total()

            await _per_token(server, proxy, sizes.tokens, mark)
    count = _STREAMS * sizes.tokens
    return Counter({name: round(100 * number / count) for name, number in calls.items()})


@asynccontextmanager
async def _proxy(
    prefix: Sequence[str], environment: Mapping[str, str], module: str
) -> AsyncIterator[tuple[Server, ProxyProcess]]:
    async with (
        listening() as server,
        serving(
            f"http://127.0.0.1:{server.port}",
            prefix=prefix,
            environment=environment,
            module=module,
            patience_s=START_S,
        ) as proxy,
    ):
        yield server, proxy


async def _per_token(
    server: Server, proxy: ProxyProcess, count: int, mark: Callable[[], Awaitable[int]]
) -> float:
    async with server.clients(proxy.port, _STREAMS) as clients:
        await clients.begin_streams()
        await clients.send_tokens(_WARM_UP_TOKENS)
        await mark()
        await clients.send_tokens(count)
        return await mark() / (_STREAMS * count)


async def _per_request(
    server: Server, proxy: ProxyProcess, count: int, mark: Callable[[], Awaitable[int]]
) -> float:
    async with server.clients(proxy.port, _CLIENTS) as clients:
        await clients.exchange(_WARM_UP_REQUESTS)
        await mark()
        await clients.exchange(count)
        return await mark() / (_CLIENTS * count)


async def _control(proxy: ProxyProcess, what: str) -> None:
    control = await asyncio.create_subprocess_exec(
        *("callgrind_control", what, str(proxy.process.pid)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await control.communicate()
    if control.returncode:
        raise RuntimeError(f"callgrind_control {what}: {output.decode()}")
