"""Promises 28, 29 and 31: whoever leaves is noticed at once, in every phase, and counted.

That is what stops a server from generating for nobody.
"""

from __future__ import annotations

import asyncio
from time import monotonic_ns
from typing import TYPE_CHECKING

import pytest

from tests.integration.fake_upstream import parse_request
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
from tests.waiting import eventually

if TYPE_CHECKING:
    from tests.integration.conftest import StartProxy
    from tests.integration.fake_upstream import FakeUpstream, Peer
    from tests.integration.harness import RunningProxy

# What behaviours.md promises; the usual value is below 1 ms.
NOTICED_WITHIN_NS = 100 * 10**6
PATIENT = {"slo": {"ttft": "60s", "itl": "60s"}}
UPLOAD = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


def leave(client: Peer, way: str) -> int:
    """Leave in one of three ways; return when."""
    {"close": client.close, "reset": client.reset, "half-close": client.finish}[way]()
    return monotonic_ns()


async def assert_noticed(server: Peer, left_ns: int) -> None:
    """Check that the upstream's connection has ended soon after the client left."""
    await server.ended()
    assert server.ended_ns - left_ns < NOTICED_WITHIN_NS


WAYS = pytest.mark.parametrize("way", ["close", "reset", "half-close"])


@WAYS
async def test_28_before_the_head(start_proxy: StartProxy, way: str) -> None:
    """A client that leaves while the server is still silent."""
    proxy = await start_proxy(**PATIENT)
    client, server = await proxy.begin(post(b"{}"))
    await assert_noticed(server, leave(client, way))

    samples = await proxy.samples()
    assert samples.verdicts() == {("cancelled", "client"): 1}
    assert samples.total("goodput_client_cancels_total", phase="before_headers") == 1
    assert samples.total("goodput_upstream_errors_total") == 0
    assert samples.total("goodput_requests_in_flight") == 0


@WAYS
async def test_28_between_tokens(start_proxy: StartProxy, way: str) -> None:
    """A client that leaves in the middle of a stream."""
    proxy = await start_proxy(**PATIENT)
    client, server = await proxy.begin(post(b"{}"))
    server.send(SSE_HEAD, chunk(token()))
    await client.until(rb"\n\n")
    await assert_noticed(server, leave(client, way))

    samples = await proxy.samples()
    assert samples.verdicts() == {("cancelled", "client"): 1}
    assert samples.total("goodput_client_cancels_total", phase="between_tokens") == 1


@WAYS
async def test_28_during_an_upload(start_proxy: StartProxy, way: str) -> None:
    """A client that leaves in the middle of its upload; the upload never looks complete."""
    proxy = await start_proxy(**PATIENT)
    client, server = await proxy.begin(UPLOAD)
    client.send(chunk(b"abc"))
    await server.until(rb"abc\r\n$")
    await assert_noticed(server, leave(client, way))

    assert server.received == UPLOAD + chunk(b"abc")
    assert await proxy.verdicts() == {("cancelled", "client"): 1}


async def test_31_a_cut_sized_upload_is_not_filled_up(start_proxy: StartProxy) -> None:
    """An upload whose length was announced is cut short, not filled up."""
    proxy = await start_proxy(**PATIENT)
    head, _, body = post(b"x" * 1000).partition(b"\r\n\r\n")
    client, server = await proxy.begin(head + b"\r\n\r\n")
    client.send(body[:500])
    await server.until_size(len(head) + 4 + 500)
    await assert_noticed(server, leave(client, "close"))

    assert server.size == len(head) + 4 + 500
    assert await proxy.verdicts() == {("cancelled", "client"): 1}


async def test_29_a_half_close_behind_the_request_is_leaving(
    start_proxy: StartProxy, upstream: FakeUpstream
) -> None:
    """Who has nothing more to send has left: in TCP it cannot be told from closing."""
    proxy = await start_proxy(**PATIENT)
    client, server = await proxy.begin(post(b"{}"))
    await server.request()
    client.finish()
    await server.ended()
    server.send(sized(b"too late"))

    assert await client.ended()
    assert client.size == 0
    assert await proxy.verdicts() == {("cancelled", "client"): 1}
    assert len(upstream.peers) == 1


@pytest.mark.parametrize("way", ["close", "reset", "half-close"])
async def test_31_a_cut_chunked_upload_has_no_last_chunk(start_proxy: StartProxy, way: str) -> None:
    """An upload that breaks off inside a chunk, or between two, never looks complete."""
    proxy = await start_proxy(**PATIENT)
    for piece in (b"", b"5\r\nab", chunk(b"abcde")):
        client, server = await proxy.begin(UPLOAD)
        client.send(piece)
        await server.until(rb"ab" if piece.endswith(b"abcde\r\n") else rb"\r\n\r\n")
        leave(client, way)
        await server.ended()
        assert b"0\r\n\r\n" not in server.received
        assert parse_request(bytes(server.received)) is None


async def test_during_a_slow_upload(start_proxy: StartProxy) -> None:
    """An upload that drips is no reason to look away."""
    proxy = await start_proxy(**PATIENT)
    client, server = await proxy.begin(UPLOAD)
    for _ in range(5):
        client.send(chunk(b"a"))
        await server.until(rb"a\r\n$")
        server.take()
        await asyncio.sleep(0.01)
    await assert_noticed(server, leave(client, "close"))
    assert not server.received


async def test_28_while_an_answer_and_an_upload_run(start_proxy: StartProxy) -> None:
    """A client that leaves while both directions are busy."""
    proxy = await start_proxy(**PATIENT)
    client, server = await proxy.begin(UPLOAD)
    server.send(SSE_HEAD, chunk(token()))
    await client.until(rb"\n\n")
    client.send(chunk(b"abc"))
    await assert_noticed(server, leave(client, "close"))
    await proxy.idle()


@WAYS
async def test_28_while_its_upload_is_stopped(start_proxy: StartProxy, way: str) -> None:
    """A client whose upload the server does not take is not read from, and noticed all the same."""
    proxy = await start_proxy(**PATIENT)
    client, server = await proxy.begin(UPLOAD)
    server.pause()
    (connection,) = proxy.listener.connections
    while not connection._reading_paused:
        client.send(chunk(b"x" * 60_000))
        await client.flush()
        await asyncio.sleep(0.001)
    left_ns = leave(client, way)
    await proxy.idle()

    assert monotonic_ns() - left_ns < NOTICED_WITHIN_NS
    server.resume()
    await server.ended()
    assert not server.received.endswith(b"0\r\n\r\n")
    assert await proxy.verdicts() == {("cancelled", "client"): 1}
    assert (await proxy.samples()).total("goodput_client_cancels_total") == 1


async def test_28_while_its_requests_queue(start_proxy: StartProxy) -> None:
    """A client that has sent more requests than are read ahead is noticed, too."""
    proxy = await start_proxy(**PATIENT)
    client, server = await proxy.begin(post(b"{}") * 200)
    (connection,) = proxy.listener.connections
    await eventually(lambda: connection._buffer_paused)

    await assert_noticed(server, leave(client, "close"))
    assert await proxy.verdicts() == {("cancelled", "client"): 1}


async def test_28_while_its_answer_is_stopped(start_proxy: StartProxy) -> None:
    """A client that does not read, and then leaves, is noticed although its buffers are full."""
    proxy = await start_proxy(**PATIENT)
    client, server = await proxy.begin(post(b"{}"))
    client.pause()
    server.send(SSE_HEAD)
    pouring = asyncio.create_task(server.pour([chunk(b"x" * 60_000)] * 1000))
    await asyncio.sleep(0.1)
    await assert_noticed(server, leave(client, "reset"))
    await pouring
    assert await proxy.verdicts() == {("cancelled", "client"): 1}


async def test_late_enough_to_be_slow(start_proxy: StartProxy) -> None:
    """Who leaves after a limit was missed has been served slowly: leaving must not hide that."""
    proxy = await start_proxy(slo={"ttft": "20ms"})
    client, server = await proxy.begin(post(b'{"stream":true}'))
    await asyncio.sleep(0.03)
    client.close()
    await server.ended()

    samples = await proxy.samples()
    assert samples.verdicts() == {("slow", "ttft"): 1}
    assert samples.total("goodput_client_cancels_total", phase="before_headers") == 1


@pytest.mark.parametrize("last", [DONE, FINISH])
@WAYS
async def test_after_the_end_of_the_stream(start_proxy: StartProxy, way: str, last: bytes) -> None:
    """Who closes after the terminator, before the last chunk, has been served: SDKs do that."""
    proxy = await start_proxy(**PATIENT)
    client, server = await proxy.begin(post(b"{}"))
    server.send(SSE_HEAD, chunk(token()), chunk(token()), chunk(last))
    await client.until(rb"stop|DONE")
    await assert_noticed(server, leave(client, way))

    samples = await proxy.samples()
    assert samples.verdicts() == {("good", ""): 1}
    assert samples.total("goodput_client_cancels_total", phase="after_last_token") == 1


async def test_before_the_connection_to_the_upstream(
    start_proxy: StartProxy, upstream: FakeUpstream
) -> None:
    """A request whose client has left before it was dialled for is not begun, or is ended."""
    proxy = await start_proxy(**PATIENT)
    client = await proxy.connect()
    client.send(post(b"{}"))
    await client.flush()
    client.reset()
    await proxy.idle()
    for peer in upstream.peers:
        await peer.ended()


async def test_pipelined_requests_of_a_client_that_left(proxy: RunningProxy) -> None:
    """Requests that wait behind the one at hand are not sent for a client that has left."""
    client, server = await proxy.begin(post(b"{}") + post(b"{}"))
    await server.request()
    client.close()
    await server.ended()
    await proxy.idle()

    assert not server.received
    assert len(proxy.upstream.peers) == 1


async def test_whole_stream_is_good(start_proxy: StartProxy) -> None:
    """A stream that ran to its end is no cancel, even if the client then closes."""
    proxy = await start_proxy(**PATIENT)
    client, server = await proxy.begin(post(b"{}"))
    server.send(SSE_HEAD, chunk(token()), chunk(token() + FINISH + DONE), LAST_CHUNK)
    await client.answer()
    client.close()

    samples = await proxy.samples()
    assert samples.verdicts() == {("good", ""): 1}
    assert samples.total("goodput_client_cancels_total") == 0
