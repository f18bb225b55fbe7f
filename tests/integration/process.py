"""The proxy as users run it: a process of its own."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.integration.fake_upstream import Peer, connect
from tests.waiting import PATIENCE_S

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import AsyncIterator, Mapping, Sequence


@dataclass
class ProxyProcess:
    """A running `goodput-proxy serve`."""

    process: Process
    port: int
    admin_port: int
    clients: list[Peer] = field(default_factory=list)

    async def connect(self) -> Peer:
        """Open a client's connection."""
        client = await connect(self.port)
        self.clients.append(client)
        return client

    def signal(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    async def logged(self, event: str) -> dict[str, Any]:
        """Wait for a log line."""
        return await _read_until(self.process, event)

    async def exit_code(self) -> int:
        """Wait for the end of the process."""
        async with asyncio.timeout(PATIENCE_S):
            await self.process.communicate()
        assert self.process.returncode is not None
        return self.process.returncode


@asynccontextmanager
async def serving(
    upstream: str,
    *arguments: str,
    prefix: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    module: str = "goodput_proxy",
    patience_s: float = PATIENCE_S,
) -> AsyncIterator[ProxyProcess]:
    """Run `python -m goodput_proxy serve` in front of an upstream, on free ports.

    Args:
        upstream: its URL.
        arguments: further ones of the command.
        prefix: a command that runs another, with its arguments.
        environment: further variables.
        module: what to run in the proxy's place.
        patience_s: how long it may take to start.
    """
    own = {key: value for key, value in os.environ.items() if not key.startswith("GOODPUT_")}
    process = await asyncio.create_subprocess_exec(
        *prefix,
        sys.executable,
        *("-m", module, "serve", "--upstream", upstream),
        *("--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"),
        *arguments,
        stderr=asyncio.subprocess.PIPE,
        env={**own, **(environment or {})},
    )
    proxy = ProxyProcess(process, 0, 0)
    try:
        listening = await _read_until(process, "listening", patience_s)
        proxy.port = int(listening["proxy_url"].rpartition(":")[2])
        proxy.admin_port = int(listening["admin_url"].rpartition(":")[2])
        yield proxy
    finally:
        for client in proxy.clients:
            client.close()
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def _read_until(
    process: Process, event: str, patience_s: float = PATIENCE_S
) -> dict[str, Any]:
    assert process.stderr is not None
    seen = []
    async with asyncio.timeout(patience_s):
        async for line in process.stderr:
            seen.append(line.decode())
            fields: dict[str, Any] = json.loads(line)
            if fields["event"] == event:
                return fields
    raise AssertionError(f"no log line {event!r} before the end: {seen}")
