"""A client that leaves: the upstream learns of it at once, in every phase, and it is counted.

That is what stops a server from generating for nobody.
"""

from __future__ import annotations

import asyncio
from time import monotonic_ns
from typing import TYPE_CHECKING

import pytest

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
async def test_before_the_head(start_proxy: StartProxy, way: str) -> None:
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
async def test_between_tokens(start_proxy: StartProxy, way: str) -> None:
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
async def test_during_the_upload(start_proxy: StartProxy, way: str) -> None:
    """A client that leaves in the middle of its upload; the upload never looks complete."""
    proxy = await start_proxy(**PATIENT)
    client, server = await proxy.begin(UPLOAD)
    client.send(chunk(b"abc"))
    await server.until(rb"abc\r\n$")
    await assert_noticed(server, leave(client, way))

    assert server.received == UPLOAD + chunk(b"abc")
    assert await proxy.verdicts() == {("cancelled", "client"): 1}


async def test_during_a_sized_upload(start_proxy: StartProxy) -> None:
    """An upload whose length was announced is cut short, not filled up."""
    proxy = await start_proxy(**PATIENT)
    head, _, body = post(b"x" * 1000).partition(b"\r\n\r\n")
    client, server = await proxy.begin(head + b"\r\n\r\n")
    client.send(body[:500])
    await server.until_size(len(head) + 4 + 500)
    await assert_noticed(server, leave(client, "close"))

    assert server.size == len(head) + 4 + 500
    assert await proxy.verdicts() == {("cancelled", "client"): 1}


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


async def test_while_an_answer_and_an_upload_run(start_proxy: StartProxy) -> None:
    """A client that leaves while both directions are busy."""
    proxy = await start_proxy(**PATIENT)
    client, server = await proxy.begin(UPLOAD)
    server.send(SSE_HEAD, chunk(token()))
    await client.until(rb"\n\n")
    client.send(chunk(b"abc"))
    await assert_noticed(server, leave(client, "close"))
    await proxy.idle()


async def test_while_its_upload_is_stopped(start_proxy: StartProxy) -> None:
    """A client whose upload nobody takes is not read from, so the idle timeout has to end it."""
    proxy = await start_proxy(timeouts={"idle": "150ms"}, **PATIENT)
    client, server = await proxy.begin(UPLOAD)
    server.pause()
    pouring = asyncio.create_task(client.pour([chunk(b"x" * 60_000)] * 1000))
    await asyncio.sleep(0.1)  # no event says that nothing moves any more
    client.reset()
    await proxy.idle()
    server.resume()
    await server.ended()
    await pouring

    assert await proxy.verdicts() == {("error", "timeout"): 1}


async def test_while_its_answer_is_stopped(start_proxy: StartProxy) -> None:
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


async def test_nothing_is_sent_twice(proxy: RunningProxy, upstream: FakeUpstream) -> None:
    """A request that may have been seen is never repeated, on whatever connection it went."""
    client, first = await proxy.begin(post(b"{}"))
    first.send(sized(b"ok"))
    await client.answer()
    for method in (b"POST", b"GET"):
        request = post(b"{}").replace(b"POST", method)
        known = [peer for peer in upstream.peers if peer.ending is None]
        client = await proxy.connect()
        first.take()
        client.send(request)
        server = known[0] if known else await upstream.accept()
        await server.request()
        server.reset()
        assert (await client.answer()).status == 502
    await proxy.idle()
    assert len(upstream.peers) == 2


async def test_keep_alive_race(proxy: RunningProxy, upstream: FakeUpstream) -> None:
    """A server that closes idle connections causes no error: none of them is used again."""
    client = await proxy.connect()
    for i in range(50):
        client.send(post(b"{}"))
        server = await upstream.accept()
        await server.request()
        server.send(sized(b"%d" % i))
        answer = await client.answer()
        assert answer.body == b"%d" % i
        # The end arrives while the client's next request is already under way.
        server.close()
    assert len(upstream.peers) == 50


async def test_idle_connections_expire(start_proxy: StartProxy, upstream: FakeUpstream) -> None:
    """An idle connection is closed before a server would close it."""
    proxy = await start_proxy(timeouts={"upstream_keepalive": "50ms"})
    client, server = await proxy.begin(post(b"{}"))
    server.send(sized(b"ok"))
    await client.answer()
    await server.ended()
    client.send(post(b"{}"))
    second = await upstream.accept()
    second.send(sized(b"ok"))

    assert (await client.answer()).status == 200


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
