"""Upgrades as tests play them: the wish, the 101, and a tunnel between the two ends."""

from __future__ import annotations

import random
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from aiohttp import web

from tests.integration.harness import get_request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from tests.integration.fake_upstream import Peer
    from tests.integration.harness import RunningProxy

WISHES = (b"Connection: keep-alive, Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Key: a")
HANDSHAKE = get_request(b"/ws", *WISHES)
SWITCH = (
    b"HTTP/1.1 101 Switching Protocols\r\nUPGRADE: websocket\r\nX-Odd: \xe9\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Accept: b\r\n\r\n"
)
CHAOS = random.Random(5).randbytes(300_000)


async def open_tunnel(
    proxy: RunningProxy, early: bytes = b"", behind: bytes = b"", handshake: bytes = HANDSHAKE
) -> list[Peer]:
    """Return client and server of a tunnel, with what was sent early on its way."""
    client, server = await proxy.begin(handshake + early)
    await server.request()
    server.send(SWITCH + behind)
    await client.until(rb"\r\n\r\n")
    head = client.take()
    assert head.startswith(SWITCH)
    client.received += head[len(SWITCH) :]
    return [client, server]


@asynccontextmanager
async def serving(
    handlers: dict[str, Callable[[web.Request], Awaitable[web.WebSocketResponse]]],
) -> AsyncIterator[str]:
    """Run a server of WebSockets, by path."""
    application = web.Application()
    for path, handler in handlers.items():
        application.router.add_get(path, handler)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()
