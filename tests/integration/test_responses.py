"""What a client sees of a response: everything that the upstream sent, and nothing else."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING

import pytest

from tests.integration.harness import LAST_CHUNK, chunk, post, sized

if TYPE_CHECKING:
    from tests.integration.conftest import StartProxy
    from tests.integration.fake_upstream import FakeUpstream
    from tests.integration.harness import RunningProxy

GET = b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n"
GET_10 = b"GET /x HTTP/1.0\r\nHost: x\r\n\r\n"
KEPT_10 = b"GET /x HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\n\r\n"
HEAD = b"HEAD /x HTTP/1.1\r\nHost: x\r\n\r\n"
CHUNKED_HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


async def test_headers_are_untouched(proxy: RunningProxy) -> None:
    """Names, case, order, duplicates, the reason and bytes above 0x7F are kept."""
    response = (
        b"HTTP/1.1 200 Tout va tr\xe8s bien\r\n"
        b"sEt-Cookie: a=1\r\nSet-Cookie: b=2\r\nX-Latin: caf\xe9\r\n"
        b"X-Empty: \r\nX-Next: 1\r\nContent-Length: 2\r\nX-Last: \xe2\x82\xac\r\n\r\nok"
    )
    client, server = await proxy.begin(GET)
    server.send(response)
    await client.until(rb"ok$")

    assert client.take() == response


async def test_no_header_is_added(proxy: RunningProxy) -> None:
    """No Date, Server, Content-Type or Via of the proxy's."""
    client, server = await proxy.begin(GET)
    server.send(sized(b"ok"))
    await client.until(rb"ok$")

    assert client.take() == sized(b"ok")


async def test_hop_by_hop_headers_stop_here(proxy: RunningProxy) -> None:
    """What describes the upstream's connection is dropped, and what `Connection` nominates."""
    hops = (
        b"Connection: X-Nominated",
        b"connection: keep-alive, content-type, content-length",
        b"x-nominated: 1",
        b"Keep-Alive: timeout=5",
        b"Proxy-Authenticate: Basic",
        b"Upgrade: h2c",
    )
    _, answer = await proxy.exchange(GET, sized(b"ok", b"200 OK", b"Content-Type: a/b", *hops))

    assert answer.headers == [(b"Content-Type", b"a/b"), (b"Content-Length", b"2")]


async def test_compressed_body_is_untouched(proxy: RunningProxy) -> None:
    """A content coding belongs to the ends: nothing is decompressed here."""
    body = gzip.compress(b"x" * 1000, mtime=0)

    _, answer = await proxy.exchange(GET, sized(body, b"200 OK", b"Content-Encoding: gzip"))

    assert answer.body == body
    assert answer.header(b"Content-Encoding") == b"gzip"


@pytest.mark.parametrize("status", [b"301 Moved", b"404 Not Found", b"429 Slow Down", b"503 Busy"])
async def test_any_status_passes(proxy: RunningProxy, status: bytes) -> None:
    """Redirects are not followed, errors are not explained."""
    response = sized(b"body", status, b"Location: http://elsewhere.test/", b"Retry-After: 1")
    client, server = await proxy.begin(post(b"{}"))
    server.send(response)
    await client.until(rb"body$")

    assert client.take() == response


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


@pytest.mark.parametrize(
    ("request_bytes", "response", "headers"),
    [
        (HEAD, sized(b"", b"200 OK").replace(b": 0", b": 42"), [(b"Content-Length", b"42")]),
        (HEAD, CHUNKED_HEAD, [(b"Transfer-Encoding", b"chunked")]),
        (GET, b"HTTP/1.1 204 No Content\r\nX-A: 1\r\n\r\n", [(b"X-A", b"1")]),
        (
            GET,
            b"HTTP/1.1 304 Not Modified\r\nContent-Length: 42\r\nETag: 1\r\n\r\n",
            [(b"Content-Length", b"42"), (b"ETag", b"1")],
        ),
        (GET, b"HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n", []),
        (GET, sized(b""), [(b"Content-Length", b"0")]),
    ],
    ids=["HEAD-sized", "HEAD-chunked", "204", "304-sized", "304-chunked", "empty"],
)
async def test_no_body(
    proxy: RunningProxy, request_bytes: bytes, response: bytes, headers: list[tuple[bytes, bytes]]
) -> None:
    """A response without a body ends with its head, keeps its length and both connections."""
    client, server = await proxy.begin(request_bytes)
    for _ in range(2):
        await server.request()
        server.send(response)
        answer = await client.answer(to_head=True)
        assert answer.headers == headers
        assert not client.received
        client.send(request_bytes)
    await server.request()
    assert len(proxy.upstream.peers) == 1


async def test_head_to_a_close_delimited_resource(proxy: RunningProxy) -> None:
    """HEAD gets no body and no framing that the upstream did not name."""
    client, server = await proxy.begin(HEAD)
    server.send(b"HTTP/1.1 200 OK\r\nX-A: 1\r\n\r\n")

    assert (await client.answer(to_head=True)).headers == [(b"X-A", b"1")]
    await server.ended()


async def test_early_hints(proxy: RunningProxy) -> None:
    """Informational responses pass when they come, as often as they come, without their hops."""
    client, server = await proxy.begin(GET)
    server.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nConnection: X-Hop\r\nX-Hop: 1\r\n\r\n")
    await client.until(rb"^HTTP/1\.1 103 Early Hints\r\nLink: </a>\r\n\r\n$")
    client.take()
    server.send(b"HTTP/1.1 102 Processing\r\n\r\n" + sized(b"ok"))
    await client.until(rb"ok$")

    assert client.take() == b"HTTP/1.1 102 Processing\r\n\r\n" + sized(b"ok")


async def test_no_early_hints_to_http10(proxy: RunningProxy) -> None:
    """HTTP/1.0 knows no informational responses."""
    _, answer = await proxy.exchange(GET_10, b"HTTP/1.1 103 Hints\r\nX: 1\r\n\r\n" + sized(b"ok"))

    assert answer.headers == [(b"Content-Length", b"2"), (b"Connection", b"close")]


async def test_unasked_continue_stops_here(proxy: RunningProxy) -> None:
    """100 concerns the upload to the upstream, which the client does not see."""
    _, answer = await proxy.exchange(post(b"{}"), b"HTTP/1.1 100 Continue\r\n\r\n" + sized(b"ok"))

    assert answer.size == len(sized(b"ok"))


async def test_trailers(proxy: RunningProxy) -> None:
    """Trailers follow the last chunk, in order and unchanged."""
    response = (
        b"HTTP/1.1 200 OK\r\nTrailer: X-A\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"3\r\nabc\r\n0\r\nX-A: 1\r\nx-a: caf\xe9\r\n\r\n"
    )
    client, server = await proxy.begin(GET)
    server.send(response)
    await client.until(rb"0\r\nX-A.*\r\n\r\n$")

    assert client.take() == response


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


SURPLUS = {
    "text": (GET, sized(b"ok") + b"surplus"),
    "second response": (GET, sized(b"ok") + sized(b"surplus")),
    "after chunks": (GET, CHUNKED_HEAD + chunk(b"ok") + LAST_CHUNK + b"surplus"),
    "response after chunks": (
        GET,
        CHUNKED_HEAD + chunk(b"ok") + LAST_CHUNK + sized(b"surplus", b"200 OK", b"X-A: surplus"),
    ),
    "after 204": (GET, b"HTTP/1.1 204 No Content\r\n\r\nsurplus"),
    "after 304": (GET, b"HTTP/1.1 304 Not Modified\r\n\r\n" + sized(b"surplus")),
    "body that answers HEAD": (HEAD, sized(b"surplus")),
    "half a body that answers HEAD": (HEAD, sized(b"surplus")[:-3]),
    "response after HEAD": (HEAD, sized(b"") + sized(b"surplus")),
    "chunks that answer HEAD": (HEAD, CHUNKED_HEAD + chunk(b"surplus") + LAST_CHUNK),
}


@pytest.mark.parametrize(("request_bytes", "response"), SURPLUS.values(), ids=SURPLUS)
async def test_surplus(proxy: RunningProxy, request_bytes: bytes, response: bytes) -> None:
    """What follows a complete response reaches no client, and its connection serves no other."""
    client, server = await proxy.begin(request_bytes)
    server.send(response)
    answer = await client.answer(to_head=request_bytes is HEAD)
    assert b"surplus" not in answer.body
    assert answer.trailers == []
    await server.ended()
    client.send(GET)
    second = await proxy.upstream.accept()
    await second.until_head()
    second.send(sized(b"fine"))

    assert (await client.answer()).body == b"fine"
    assert not client.received


async def test_late_surplus(proxy: RunningProxy) -> None:
    """A server that speaks unasked is out of step: its connection is closed."""
    client, server = await proxy.begin(GET)
    server.send(sized(b"ok"))
    await client.answer()
    server.send(sized(b"surplus"))
    await server.ended()

    assert not client.received
    assert client.ending is None


@pytest.mark.parametrize(
    "response",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: \r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nX-A: 1\r\n 2\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
        b"HTTP/1.1 99 Odd\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 2000 OK\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nraw",
        b"ICY 200 OK\r\n\r\n",
        b"data: not HTTP\n\n",
        b"HTTP/1.1 200 OK\r\nX-Large: " + b"a" * 70_000 + b"\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\n" + b"X-Many: 1\r\n" * 10_000 + b"Content-Length: 2\r\n\r\nok",
    ],
    ids=lambda response: repr(response)[2:60],
)
async def test_malformed_response(proxy: RunningProxy, response: bytes) -> None:
    """Of a response that cannot be trusted nothing passes: 502, and its connection is closed."""
    client, server = await proxy.begin(post(b"{}"))
    server.send(response)
    assert (await client.until_head()).startswith(b"HTTP/1.1 502 Bad Gateway\r\n")
    answer = await client.answer()

    assert json.loads(answer.body)["error"]["code"] == "bad_gateway"
    assert await client.ended() == "fin"
    await server.ended()
    samples = await proxy.samples()
    assert samples.total("goodput_upstream_errors_total", reason="protocol") == 1
    assert samples.verdicts() == {("error", "truncated"): 1}


@pytest.mark.parametrize(
    "start", [b"HTTP/1.1 200 ", b"HTTP/1.1 200 OK\r\nX-A: ", b"HTTP/1.1 200 OK\r\n"]
)
async def test_head_without_an_end(proxy: RunningProxy, start: bytes) -> None:
    """A head that never ends is broken off when it is too large, not collected."""
    client, server = await proxy.begin(GET)
    server.send(start)
    await server.pour([b"a" * 4096] * 1000)

    assert (await client.answer()).status == 502
    await server.ended()


async def test_chunk_extension_without_an_end(proxy: RunningProxy) -> None:
    """What the parser holds back inside a body is bounded, too."""
    client, server = await proxy.begin(GET)
    server.send(CHUNKED_HEAD + chunk(b"abc") + b"3;a=")
    await server.pour([b"a" * 4096] * 1000)

    assert await client.ended() == "fin"
    assert not (await client.answer()).complete


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
    client, server = await proxy.begin(
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
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
    client, server = await proxy.begin(
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
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
