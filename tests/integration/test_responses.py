"""What a client sees of a response: everything that the upstream sent, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.integration.harness import (
    CHUNKED_HEAD,
    CHUNKED_POST,
    GET,
    GET_10,
    LAST_CHUNK,
    chunk,
    post,
    sized,
)

if TYPE_CHECKING:
    from tests.integration.conftest import StartProxy
    from tests.integration.fake_upstream import FakeUpstream
    from tests.integration.harness import RunningProxy

KEPT_10 = b"GET /x HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\n\r\n"


async def test_chunked_to_http11(proxy: RunningProxy) -> None:
    """A chunked body stays chunked; its extensions describe one connection and stop here."""
    body = b"3;name=value\r\nabc\r\n4\r\n\r\n0\r\r\n0\r\n\r\n"

    _, answer = await proxy.exchange(GET, CHUNKED_HEAD + body)

    assert (answer.body, answer.complete) == (b"abc\r\n0\r", True)
    assert answer.headers == [(b"Transfer-Encoding", b"chunked")]


async def test_chunked_to_http10(proxy: RunningProxy) -> None:
    """HTTP/1.0 knows no chunks: the body is delimited by the end of the connection."""
    response = CHUNKED_HEAD + chunk(b"abc") + chunk(b"def") + b"0\r\nX-Trailer: 1\r\n\r\n"
    client, server = await proxy.begin(KEPT_10)
    server.send(response)

    assert await client.ended() == "fin"
    answer = await client.answer()
    assert (answer.body, answer.trailers, answer.complete) == (b"abcdef", [], True)
    assert answer.headers == [(b"Connection", b"close")]


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
async def test_close_delimited_to_http11(proxy: RunningProxy, version: bytes) -> None:
    """A body that ends with its connection gets chunks, so that its end can be told from a cut."""
    client, server = await proxy.begin(GET)
    server.send(b"HTTP/%b 200 OK\r\nX-A: 1\r\n\r\nabc" % version)
    await client.until(rb"abc\r\n$")
    server.send(b"def")
    await client.until(rb"def\r\n$")
    server.close()
    answer = await client.answer()

    assert (answer.body, answer.complete) == (b"abcdef", True)
    assert answer.headers == [(b"X-A", b"1"), (b"Transfer-Encoding", b"chunked")]
    assert client.ending is None


async def test_close_delimited_to_http10(proxy: RunningProxy) -> None:
    """A body that ends with its connection does so on the other side, too."""
    client, server = await proxy.begin(GET_10)
    server.send(b"HTTP/1.1 200 OK\r\n\r\nabc")
    await client.until(rb"abc$")
    server.close()

    assert await client.ended() == "fin"
    assert (await client.answer()).body == b"abc"


async def test_empty_close_delimited_body(proxy: RunningProxy) -> None:
    """A body may be empty."""
    client, server = await proxy.begin(GET)
    server.send(b"HTTP/1.1 200 OK\r\n\r\n")
    server.close()
    answer = await client.answer()

    assert (answer.body, answer.complete) == (b"", True)


async def test_connections_are_used_again(proxy: RunningProxy) -> None:
    """Requests follow each other on one connection on either side; HTTP/1.0 is told so."""
    client, server = await proxy.begin(GET)
    for request in (GET, post(b"{}"), GET, KEPT_10):
        await server.request()
        server.send(sized(b"ok"))
        await client.answer()
        client.send(request)
    await server.request()
    server.send(sized(b"ok"))

    assert (await client.answer()).header(b"Connection") == b"keep-alive"
    assert len(proxy.upstream.peers) == 1
    assert client.ending is None


@pytest.mark.parametrize(
    "request_bytes", [GET.replace(b"Host", b"Connection: close\r\nHost"), GET_10]
)
async def test_client_that_closes(proxy: RunningProxy, request_bytes: bytes) -> None:
    """The client's connection closes when it asked for that; the upstream's stays."""
    client, server = await proxy.begin(request_bytes)
    server.send(sized(b"ok"))

    assert await client.ended() == "fin"
    assert (await client.answer()).header(b"Connection") == b"close"
    assert server.ending is None


@pytest.mark.parametrize(
    "response",
    [
        sized(b"ok", b"200 OK", b"Connection: close"),
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
    ],
)
async def test_upstream_that_closes(proxy: RunningProxy, response: bytes) -> None:
    """The upstream's connection is not used again when it said so; the client's is."""
    client, server = await proxy.begin(GET)
    server.send(response)

    assert (await client.answer()).header(b"Connection") is None
    await server.ended()
    client.send(GET)
    second = await proxy.upstream.accept()
    second.send(sized(b"ok"))
    assert (await client.answer()).body == b"ok"


async def test_many_small_reads_are_no_long_head(start_proxy: StartProxy) -> None:
    """A stream whose framing comes in reads of its own may be of any length."""
    proxy = await start_proxy(limits={"head_bytes": 1024})
    client, server = await proxy.begin(GET)
    server.send(CHUNKED_HEAD)
    for _ in range(500):
        server.send(b"1\r\n")
        await server.flush()
        server.send(b"a")
        await server.flush()
        server.send(b"\r\n")
        await server.flush()
    server.send(LAST_CHUNK)
    answer = await client.answer()

    assert (answer.body, answer.complete) == (b"a" * 500, True)


async def test_early_answer_stops_the_upload(proxy: RunningProxy) -> None:
    """An answer that comes during the upload passes at once, and the upload goes no further."""
    client, server = await proxy.begin(CHUNKED_POST)
    client.send(chunk(b"first"))
    await server.until(rb"first\r\n$")
    server.send(sized(b"too large", b"413 Content Too Large"))

    assert (await client.answer()).status == 413
    await server.ended()
    client.send(chunk(b"second"))
    assert server.received.endswith(chunk(b"first"))
    assert await proxy.verdicts() == {("client_error", "http_4xx"): 1}


async def test_request_head_does_not_wait_for_the_body(
    proxy: RunningProxy, upstream: FakeUpstream
) -> None:
    """An answer may come before the upload has ended and run beside it."""
    client, server = await proxy.begin(CHUNKED_POST)
    server.send(CHUNKED_HEAD)
    for piece in (b"one", b"two"):
        client.send(chunk(piece))
        await server.until(piece + rb"\r\n$")
        server.send(chunk(piece))
        await client.until(piece + rb"\r\n$")
    client.send(LAST_CHUNK)
    await server.until(rb"0\r\n\r\n$")
    server.send(LAST_CHUNK)
    answer = await client.answer()

    assert (answer.body, answer.complete) == (b"onetwo", True)
    assert len(upstream.peers) == 1
