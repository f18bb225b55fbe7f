"""What an upstream sees of a request: everything that the client sent, and nothing else."""

from __future__ import annotations

import json
import socket
from contextlib import ExitStack
from typing import TYPE_CHECKING

from tests.integration.fake_upstream import parse_chunks, split_headers
from tests.integration.harness import CHAT_PATH, CHUNKED_POST, GET, chunk, get, get_request, sized

if TYPE_CHECKING:
    import pytest

    from tests.integration.conftest import StartProxy
    from tests.integration.fake_upstream import FakeUpstream
    from tests.integration.harness import RunningProxy

OK = sized(b"ok")


async def test_chunked_body_is_framed_anew(proxy: RunningProxy) -> None:
    """A chunked upload goes up in chunks while it arrives; extensions and trailers stop here."""
    client, server = await proxy.begin(CHUNKED_POST)
    pieces = [b"{" + bytes(range(256)), b"\r\n0\r\n\r\n", b"x" * 5000]
    for piece in pieces:
        client.send(b"%X;ext=1\r\n%b\r\n" % (len(piece), piece))
        await server.until(rb"\r\n\r\n.*" + _escaped(piece[-200:]) + rb"\r\n$")
    client.send(b"0\r\nX-Trailer: 1\r\n\r\n")
    head, body = await server.request()
    server.send(OK)

    assert (await client.answer()).status == 200
    assert head == CHUNKED_POST
    assert parse_chunks(body) == b"".join(pieces)


async def test_request_bytes_one_by_one(proxy: RunningProxy) -> None:
    """A request that drips in a byte at a time arrives whole."""
    request = (
        CHUNKED_POST.replace(b"Host: x", b"hOsT: x\r\nX-A: caf\xe9") + chunk(b"abc") + b"0\r\n\r\n"
    )
    client = await proxy.connect()
    for i in range(len(request)):
        client.send(request[i : i + 1])
        await client.flush()
    server = await proxy.upstream.accept()
    head, body = await server.request()

    assert head == request[: request.index(b"\r\n\r\n") + 4]
    assert parse_chunks(body) == b"abc"


async def test_http10_client(proxy: RunningProxy) -> None:
    """An HTTP/1.0 request goes up as HTTP/1.1, with the Host that 1.1 demands."""
    seen, answer = await proxy.exchange(b"GET /health HTTP/1.0\r\n\r\n", OK)

    assert answer.status == 200
    assert split_headers(seen.split(b"\r\n")[1:-2]) == [(b"Host", b"")]
    assert seen.startswith(b"GET /health HTTP/1.1\r\n")


async def test_malformed_chunk_in_mid_upload(
    proxy: RunningProxy, caplog: pytest.LogCaptureFixture
) -> None:
    """A spoiled upload ends the request, and never looks complete to the upstream."""
    client, server = await proxy.begin(CHUNKED_POST + chunk(b"abc"))
    await server.until(rb"abc\r\n$")
    client.send(b"zz\r\nabc\r\n0\r\n\r\n")
    answer = await client.answer()

    assert answer.status == 400
    assert json.loads(answer.body)["error"]["code"] == "bad_body"
    assert await client.ended() == "fin"
    await server.ended()
    assert server.received.endswith(b"\r\n\r\n" + chunk(b"abc"))
    assert await proxy.verdicts() == {("client_error", "http_4xx"): 1}
    assert caplog.records == []  # it is no fault of the proxy's


async def test_malformed_chunk_after_the_answer_began(proxy: RunningProxy) -> None:
    """A spoiled upload cuts an answer that has begun; nothing is appended to it."""
    client, server = await proxy.begin(CHUNKED_POST + chunk(b"abc"))
    server.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(b"token"))
    await client.until(rb"token\r\n$")
    client.send(b"zz\r\n")

    assert await client.ended() == "fin"
    answer = await client.answer()
    assert (answer.status, answer.body, answer.complete) == (200, b"token", False)
    await server.ended()


async def test_malformed_chunk_while_dialling(proxy: RunningProxy, upstream: FakeUpstream) -> None:
    """An upload that is spoiled before a connection is there sends nothing."""
    client = await proxy.connect()
    client.send(CHUNKED_POST)
    await client.flush()
    client.send(b"zz\r\n")

    assert (await client.answer()).status == 400
    await proxy.idle()
    assert upstream.size in {0, len(CHUNKED_POST)}


async def test_clients_that_come_all_at_once(proxy: RunningProxy) -> None:
    """Hundreds of clients may connect in an instant: none has to try again a second later."""
    with ExitStack() as clients:
        for _ in range(300):  # nobody accepts while this runs: the proxy has the same event loop
            clients.enter_context(socket.create_connection(("127.0.0.1", proxy.port), timeout=0.9))


async def test_the_proxy_as_its_own_upstream(start_proxy: StartProxy) -> None:
    """A name that leads back here is noticed when it is dialled: nothing goes round in a circle."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    proxy = await start_proxy(listen=f"127.0.0.1:{port}", upstream=f"http://localhost:{port}")
    client = await proxy.connect()
    client.send(GET)

    assert (await client.answer()).status == 502
    ready = await get(proxy.admin_port, "/readyz")
    assert ready.status == 503
    assert ready.body == b"the upstream is not reachable: it is this proxy itself\n"


async def test_inference_paths_only_are_judged(proxy: RunningProxy) -> None:
    """What is not inference is counted apart."""
    await proxy.exchange(get_request(b"/v1/models"), OK)
    await proxy.exchange(get_request(CHAT_PATH), OK)
    samples = await proxy.samples()

    for kind in ("metadata", "other"):
        assert samples.total("goodput_passthrough_requests_total", kind=kind) == 1
    assert samples.verdicts() == {}


def _escaped(data: bytes) -> bytes:
    return b"".join(b"\\x%02x" % byte for byte in data)
