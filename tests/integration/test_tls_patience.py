"""TLS takes nothing from what bounds clients: their number, and the patience with them."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from socket import create_connection
from time import monotonic_ns
from typing import TYPE_CHECKING, Any

import pytest

from tests.certificates import Mount, client_context, issue
from tests.integration.harness import SSE_HEAD, chunk, post, sized
from tests.integration.test_tls import hang_up

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.conftest import StartProxy
    from tests.integration.harness import RunningProxy

UPLOAD = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
PATIENT = {"slo": {"ttft": "60s", "itl": "60s"}}
NOTICED_WITHIN_NS = 100 * 10**6


async def start(start_proxy: StartProxy, tmp_path: Path, **settings: Any) -> RunningProxy:
    """Start a proxy that speaks TLS to its clients."""
    mount = Mount(tmp_path / "tls", issue())
    proxy = await start_proxy(listen_tls=mount.settings, **PATIENT, **settings)
    proxy.client_tls = client_context()
    return proxy


async def faults(proxy: RunningProxy, reason: str) -> float:
    """Return how many connections were closed on their clients for a reason."""
    return (await proxy.samples()).total("goodput_client_faults_total", reason=reason)


async def test_a_dripped_head_is_408(start_proxy: StartProxy, tmp_path: Path) -> None:
    """A head that does not end is answered and closed."""
    proxy = await start(start_proxy, tmp_path, timeouts={"head": "200ms"})
    client = await proxy.connect()
    client.send(post(b"{}")[:20])

    assert (await client.answer()).status == 408
    await client.ended()
    assert await faults(proxy, "head_timeout") == 1


async def test_a_stalled_body_is_408(start_proxy: StartProxy, tmp_path: Path) -> None:
    """A body that does not come is answered and closed."""
    proxy = await start(start_proxy, tmp_path, timeouts={"upload": "200ms"})
    client, server = await proxy.begin(UPLOAD)

    assert (await client.answer()).status == 408
    await server.ended()
    assert await faults(proxy, "upload_timeout") == 1


async def test_a_client_that_does_not_read_is_reset(
    start_proxy: StartProxy, tmp_path: Path
) -> None:
    """A client that takes nothing has left."""
    proxy = await start(start_proxy, tmp_path, timeouts={"download": "200ms"})
    client, server = await proxy.begin(post(b"{}"))
    client.pause()
    server.send(SSE_HEAD)
    await server.pour([chunk(b"x" * 60_000)] * 1000)  # until the proxy has hung up
    await server.ended()

    assert await proxy.verdicts() == {("cancelled", "client"): 1}
    assert await faults(proxy, "download_timeout") == 1


@pytest.mark.parametrize("way", ["gone", "reset"])
async def test_a_client_that_leaves_while_its_upload_is_stopped(
    start_proxy: StartProxy, tmp_path: Path, way: str
) -> None:
    """Who leaves while nobody reads is noticed without a word of TLS being read."""
    proxy = await start(start_proxy, tmp_path)
    client, server = await proxy.begin(UPLOAD)
    server.pause()
    (connection,) = proxy.listener.connections
    while not connection._reading_paused:
        client.send(chunk(b"x" * 60_000))
        await client.flush()
        await asyncio.sleep(0.001)
    left_ns = monotonic_ns()
    if way == "gone":  # a FIN, and no word of TLS
        hang_up(client)
    else:
        client.reset()
    await proxy.idle()

    assert monotonic_ns() - left_ns < NOTICED_WITHIN_NS
    server.resume()
    await server.ended()
    assert await proxy.verdicts() == {("cancelled", "client"): 1}


async def test_surplus_connections(start_proxy: StartProxy, tmp_path: Path) -> None:
    """A connection above the limit is answered, and one that only shakes hands is counted."""
    proxy = await start(
        start_proxy, tmp_path, limits={"connections": 3}, timeouts={"tls_handshake": "400ms"}
    )
    client, server = await proxy.begin(post(b"{}"))
    with ExitStack() as silent:
        for _ in range(2):
            silent.enter_context(create_connection(("127.0.0.1", proxy.port)))
        surplus = await proxy.connect()
        surplus.send(post(b"{}"))
        assert (await surplus.answer()).status == 503
    server.send(sized(b"ok"))
    assert (await client.answer()).status == 200
    assert await faults(proxy, "surplus") == 1
    await asyncio.sleep(0.5)  # the time of a handshake, of which nobody says that it has failed
    again = await proxy.connect()
    again.send(post(b"{}"))
    await server.until(rb"POST .*POST ")
    server.send(sized(b"ok"))
    assert (await again.answer()).status == 200
