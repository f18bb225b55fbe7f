"""Promise 39: a client that keeps the proxy waiting is closed, and is the one to blame."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.conformance.stamped import generating, measure
from tests.conftest import require_program
from tests.integration.fake_upstream import Ending
from tests.integration.harness import SSE_HEAD, chunk, post, sized, token
from tests.integration.process import serving
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.integration.conftest import StartProxy
    from tests.integration.fake_upstream import FakeUpstream, Peer
    from tests.integration.harness import RunningProxy

UPLOAD = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
PATIENT = {"slo": {"ttft": "60s", "itl": "60s"}}
ATTACK_S = 4
P99_LIMIT_MS = 20.0


async def drip(client: Peer, pieces: Iterator[bytes]) -> None:
    """Send a piece now and then, for as long as the connection is open."""
    for piece in pieces:
        if client.ending is not None:
            return
        client.send(piece)
        await asyncio.sleep(0.03)
    raise AssertionError("the connection is still open")


async def assert_blamed(proxy: RunningProxy, fault: str, verdict: tuple[str, str] | None) -> None:
    """Check that the client has one fault, and the server none."""
    samples = await proxy.samples()
    assert samples.total("goodput_client_faults_total") == 1
    assert samples.total("goodput_client_faults_total", reason=fault) == 1
    assert samples.total("goodput_upstream_errors_total") == 0
    assert samples.verdicts() == ({verdict: 1} if verdict else {})


async def test_39_a_silent_connection_is_closed(start_proxy: StartProxy) -> None:
    """A connection without a request is closed, before the first and between two."""
    proxy = await start_proxy(timeouts={"keepalive": "200ms"})
    silent = await proxy.connect()
    client, server = await proxy.begin(post(b"{}"))
    await asyncio.sleep(0.3)  # a request that takes longer is not silence
    server.send(sized(b"ok"))

    assert (await client.answer()).status == 200
    assert await silent.ended() is Ending.FIN
    assert await client.ended() is Ending.FIN


@pytest.mark.parametrize("before", [0, 1])
async def test_39_a_dripped_head_is_408(
    start_proxy: StartProxy, upstream: FakeUpstream, before: int
) -> None:
    """However many bytes of a head come, it has to end in time."""
    proxy = await start_proxy(timeouts={"head": "250ms"})
    client = await proxy.connect()
    for _ in range(before):
        client.send(post(b"{}", path=b"/x"))
        server = await upstream.accept()
        await server.request()
        server.send(sized(b"ok"))
        await client.answer()
    await drip(client, (b"%c" % byte for byte in b"GET /a HTTP/1.1\r\nX: " + b"a" * 1000))

    answer = await client.answer()
    assert (answer.status, answer.header(b"Connection")) == (408, b"close")
    assert await client.ended() is Ending.FIN
    assert len(upstream.peers) == before
    await assert_blamed(proxy, "head_timeout", None)


@pytest.mark.parametrize("pieces", [0, 1, 1000])
async def test_39_a_dripped_body_is_408(start_proxy: StartProxy, pieces: int) -> None:
    """A body that stalls, or only drips, is the client's fault; its upload never looks complete."""
    proxy = await start_proxy(timeouts={"upload": "250ms", "idle": "100ms"}, **PATIENT)
    client, server = await proxy.begin(UPLOAD)
    dripped = [chunk(b"a")] * pieces
    if pieces > 1:
        await drip(client, iter(dripped))
    else:
        client.send(*dripped)

    answer = await client.answer()
    assert (answer.status, answer.header(b"Connection")) == (408, b"close")
    assert await client.ended() is Ending.FIN
    await server.ended()
    assert not server.received.endswith(b"0\r\n\r\n")
    await assert_blamed(proxy, "upload_timeout", ("client_error", "http_4xx"))


async def test_39_a_body_that_stalls_behind_an_answer_is_cut(start_proxy: StartProxy) -> None:
    """When the answer has begun nothing can be said any more, and nothing is."""
    proxy = await start_proxy(timeouts={"upload": "250ms"}, **PATIENT)
    client, server = await proxy.begin(UPLOAD)
    server.send(SSE_HEAD, chunk(token()))

    assert await client.ended() is Ending.FIN
    assert client.received == SSE_HEAD + chunk(token())
    await server.ended()
    await assert_blamed(proxy, "upload_timeout", ("cancelled", "client"))


async def test_39_a_slow_body_that_moves_is_awaited(start_proxy: StartProxy) -> None:
    """The timeout is for each 4 KiB, not for the whole."""
    proxy = await start_proxy(timeouts={"upload": "600ms"})
    client, server = await proxy.begin(UPLOAD)
    for _ in range(25):
        client.send(chunk(b"a" * 5000))
        await asyncio.sleep(0.05)
    client.send(b"0\r\n\r\n")
    await server.request()
    server.send(sized(b"ok"))

    assert (await client.answer()).status == 200


async def test_39_a_server_that_does_not_take_a_body_is_no_fault_of_its_client(
    start_proxy: StartProxy,
) -> None:
    """While an upload waits for the server its client is not to blame."""
    proxy = await start_proxy(timeouts={"upload": "200ms"})
    client, server = await proxy.begin(UPLOAD)
    server.pause()
    pouring = asyncio.create_task(client.pour([chunk(b"x" * 60_000)] * 500))
    await asyncio.sleep(0.8)
    assert client.ending is None
    server.resume()
    await pouring
    client.send(b"0\r\n\r\n")
    await server.until(rb"\r\n0\r\n\r\n$")
    server.send(sized(b"ok"))

    assert (await client.answer()).status == 200
    assert (await proxy.samples()).total("goodput_client_faults_total") == 0


async def test_39_a_client_that_does_not_read_is_reset(start_proxy: StartProxy) -> None:
    """A client that takes nothing of a stream has left, and its server is free."""
    proxy = await start_proxy(timeouts={"download": "250ms"}, **PATIENT)
    client, server = await proxy.begin(post(b"{}"))
    client.pause()
    server.send(SSE_HEAD, chunk(token()))
    await server.pour([chunk(b"x" * 60_000)] * 1000)  # until the proxy has hung up
    await server.ended()

    client.resume()
    assert await client.ended() is Ending.RST
    await assert_blamed(proxy, "download_timeout", ("cancelled", "client"))


async def test_39_a_client_that_does_not_read_the_rest_is_reset(start_proxy: StartProxy) -> None:
    """An answer that is complete is not left lying about for ever either."""
    proxy = await start_proxy(timeouts={"download": "250ms"})
    client, server = await proxy.begin(post(b"{}", path=b"/x"))
    client.pause()
    server.send(SSE_HEAD)
    (connection,) = proxy.listener.connections
    assert connection.transport is not None
    while not connection.transport.get_write_buffer_size():
        server.send(chunk(b"x" * 30_000))
        await server.flush()
        await asyncio.sleep(0.001)
    server.send(b"0\r\n\r\n")
    await proxy.idle()
    assert proxy.connections == 1
    await eventually(lambda: not proxy.connections, "no connection")

    client.resume()
    assert await client.ended() is Ending.RST
    await assert_blamed(proxy, "download_timeout", None)
    assert server.ending is None  # it was not concerned


@pytest.fixture
async def attack() -> AsyncIterator[list[asyncio.subprocess.Process]]:
    """Return a list of running attacks, which end with the test."""
    running: list[asyncio.subprocess.Process] = []
    yield running
    for process in running:
        if process.returncode is None:
            process.kill()
        await process.wait()


@pytest.mark.parametrize("mode", ["-H", "-B", "-R", "-X"])
async def test_39_an_attack_costs_other_streams_nothing(
    mode: str, attack: list[asyncio.subprocess.Process]
) -> None:
    """Whatever of its four things `slowhttptest` does, other streams have their tokens in time."""
    program = require_program("slowhttptest")
    for _ in range(3):  # on a busy machine once more
        async with generating() as url, serving(url) as proxy:
            without = await measure(proxy.port)
            attack.append(
                await asyncio.create_subprocess_exec(
                    program,
                    *(mode, "-u", f"http://127.0.0.1:{proxy.port}/large"),
                    *("-c", "200", "-r", "50", "-i", "1", "-l", str(ATTACK_S), "-p", "1"),
                    stdout=asyncio.subprocess.DEVNULL,
                    stderr=asyncio.subprocess.DEVNULL,
                )
            )
            await asyncio.sleep(1)  # by now it is under way
            ages = await measure(proxy.port)
        numbers = f"slowhttptest {mode}: {ages}; without: {without}"
        print(numbers)  # noqa: T201 -- `pytest -s` shows them
        if ages.p99 < P99_LIMIT_MS + without.allowance:
            return
    pytest.fail(numbers)
