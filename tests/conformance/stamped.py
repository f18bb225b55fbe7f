"""Streams whose tokens say when they were sent, and clients that note how old they are."""

from __future__ import annotations

import asyncio
import re
from contextlib import asynccontextmanager
from dataclasses import dataclass
from time import monotonic, monotonic_ns
from typing import TYPE_CHECKING

from tests.integration.fake_upstream import Peer, parse_request
from tests.integration.harness import (
    DONE,
    FINISH,
    LAST_CHUNK,
    SSE_HEAD,
    chunk,
    post,
    sized,
    token,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

STREAMS = 20
TOKENS = 100
BETWEEN_TOKENS_S = 0.02
# What the p99 stays below on a machine that has nothing else to do.
QUIET_MS = 6.0
_STAMP = re.compile(rb'"content":"(\d+)"')
_LARGE = sized(b"x" * 2**19)
_WHOLE = b'{"choices":[{"index":0,"message":{"content":"a"},"finish_reason":"stop"}]}'


class Generator(Peer):
    """A server that streams stamped tokens to who asks for a stream, and a large body otherwise."""

    def __init__(self, open_peers: set[Generator]) -> None:
        super().__init__()
        self._open_peers = open_peers
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._open_peers.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._open_peers.discard(self)
        if self._task is not None:
            self._task.cancel()

    def eof_received(self) -> bool:
        super().eof_received()
        return False

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        while found := parse_request(bytes(self.received)):
            head, body = found
            del self.received[: len(head) + len(body)]
            if b'"stream"' in body:
                self._task = asyncio.get_running_loop().create_task(self._generate())
            elif b'"model"' in body:
                self.send(sized(_WHOLE, b"200 OK", b"Content-Type: application/json"))
            else:
                self.send(_LARGE)

    async def _generate(self) -> None:
        self.send(SSE_HEAD)
        start_s = monotonic()
        for i in range(TOKENS):
            await asyncio.sleep(max(0.0, start_s + i * BETWEEN_TOKENS_S - monotonic()))
            self.send(chunk(token(str(monotonic_ns()))))
        self.send(chunk(FINISH + DONE) + LAST_CHUNK)


@asynccontextmanager
async def generating() -> AsyncIterator[str]:
    """Run a generator; yield its URL."""
    peers: set[Generator] = set()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Generator(peers), "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for peer in peers:
            peer.close()


@dataclass(frozen=True)
class Ages:
    """How old tokens were when their clients had them, in ms."""

    p50: float
    p99: float
    most: float

    @property
    def allowance(self) -> float:
        """What a busy machine may add to a limit, if these were measured just before, in ms."""
        return 0.0 if self.p99 < QUIET_MS else 4 * self.p99

    def __str__(self) -> str:
        return f"p50 {self.p50:.2f} ms, p99 {self.p99:.2f} ms, at most {self.most:.2f} ms"


async def measure(port: int) -> Ages:
    """Read some streams side by side."""
    loop = asyncio.get_running_loop()
    ages_ns: list[int] = []
    clients = []
    for _ in range(STREAMS):
        _, client = await loop.create_connection(lambda: _Reader(ages_ns), "127.0.0.1", port)
        client.send(post(b'{"stream":true}'))
        clients.append(client)
        await asyncio.sleep(BETWEEN_TOKENS_S / STREAMS)
    for client in clients:
        assert (await client.answer()).complete
        client.close()
    ages = sorted(age / 10**6 for age in ages_ns)
    assert len(ages) == STREAMS * TOKENS
    return Ages(ages[len(ages) // 2], ages[len(ages) * 99 // 100], ages[-1])


class _Reader(Peer):
    def __init__(self, ages_ns: list[int]) -> None:
        super().__init__()
        self._ages_ns = ages_ns

    def data_received(self, data: bytes) -> None:
        now_ns = monotonic_ns()
        self._ages_ns.extend(now_ns - int(stamp) for stamp in _STAMP.findall(data))
        super().data_received(data)
