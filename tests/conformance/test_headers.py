"""Promises 11 to 23: heads pass as they came, but for what concerns one connection only."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING

import pytest

from tests.integration.harness import (
    CHUNKED_HEAD,
    CHUNKED_POST,
    GET,
    GET_10,
    HEAD,
    LAST_CHUNK,
    chunk,
    post,
    sized,
)
from tests.integration.harness import get_request as get

if TYPE_CHECKING:
    from tests.integration.conftest import StartProxy
    from tests.integration.fake_upstream import FakeUpstream
    from tests.integration.harness import RunningProxy

OK = sized(b"ok")


async def test_11_headers_of_the_clients_connection_stop_here(proxy: RunningProxy) -> None:
    """What describes the client's connection is dropped, and what `Connection` nominates."""
    request = get(
        b"/x",
        b"Connection:",
        b"connection: X-Nominated , keep-alive",
        b"CONNECTION: x-other",
        b"X-Nominated: 1",
        b"x-NOMINATED: 2",
        b"X-Other: 3",
        b"Keep-Alive: timeout=5",
        b"Proxy-Connection: keep-alive",
        b"Proxy-Authorization: Basic secret",
        b"TE: trailers",
        b"Upgrade: h2c",
        b"X-Kept: 4",
    )

    seen, _ = await proxy.exchange(request, OK)

    assert seen == get(b"/x", b"X-Kept: 4")


async def test_11_headers_of_the_upstreams_connection_stop_here(proxy: RunningProxy) -> None:
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


async def test_12_connection_cannot_take_end_to_end_headers_away(proxy: RunningProxy) -> None:
    """`Connection` cannot be used to take away what others rely on."""
    headers = (
        b"Authorization: Bearer secret",
        b"Content-Type: application/json",
        b"Content-Encoding: gzip",
        b"Cookie: a=1",
    )
    names = (
        b"Connection: host, content-length, authorization, content-type, content-encoding, cookie"
    )

    seen, _ = await proxy.exchange(post(b"{}", *headers, names), OK)

    assert seen == post(b"{}", *headers)


@pytest.mark.parametrize(
    "target",
    [
        b"/a%2Fb%2fc",
        b"//double//slash",
        b"/a/../b/./c/..",
        b"/a;x=1;y",
        b"/a+b?q=%20+&&a=b&",
        b"/%zz%",
        b"/lone?",
        b"/twice?a?b",
        b"/[]{}|^",
        b"/'\"<>\\`~!$()*,:@=",
        b"/fragment#part",
    ],
)
async def test_13_the_target_is_untouched(proxy: RunningProxy, target: bytes) -> None:
    """Path and query reach the upstream byte for byte."""
    seen, answer = await proxy.exchange(get(target), OK)

    assert answer.status == 200
    assert seen == get(target)


async def test_14_headers_of_a_request_are_untouched(proxy: RunningProxy) -> None:
    """Names, case, order, duplicates and empty values are kept."""
    headers = (
        b"X-Dup: 1",
        b"x-dup: 2",
        b"X-DUP: 1",
        b"X-Empty: ",
        b"X_Underscore: 1",
        b"Cookie: a=1",
        b"Cookie: b=2",
        b"X-Forwarded-For: 10.0.0.1",
        b"Authorization: Bearer secret",
    )

    seen, _ = await proxy.exchange(get(b"/x", *headers), OK)

    assert seen == get(b"/x", *headers)


@pytest.mark.parametrize("target", [b"/caf\xe9", b"/caf\xc3\xa9", b"/?q=\xff", b"http://x/\x80"])
async def test_13_a_target_is_ascii(proxy: RunningProxy, target: bytes) -> None:
    """Bytes that no URI has are refused, and never changed: clients are to escape them."""
    client = await proxy.connect()
    client.send(get(target))

    assert (await client.answer()).status == 400
    await proxy.idle()
    assert proxy.upstream.peers == []


async def test_14_headers_of_a_response_are_untouched(proxy: RunningProxy) -> None:
    """Names, case, order, duplicates and the reason are kept; cookies are never merged."""
    response = (
        b"HTTP/1.1 200 All's Well  That\r\n"
        b"sEt-Cookie: a=1\r\nSet-Cookie: b=2\r\nX-Dup: 1\r\nx-dup: 2\r\n"
        b"X-Empty: \r\nX-Next: 1\r\nContent-Length: 2\r\nX-Last: 1\r\n\r\nok"
    )
    client, server = await proxy.begin(GET)
    server.send(response)
    await client.until(rb"ok$")

    assert client.take() == response


HIGH_BYTES = b"X-Odd: a" + bytes(range(0x80, 0x100)) + b"b"


async def test_15_values_above_ascii_are_untouched(proxy: RunningProxy) -> None:
    """Every byte above 0x7F passes as it is, both ways."""
    client, server = await proxy.begin(get(b"/x", HIGH_BYTES))
    head, _ = await server.request()
    response = sized(b"ok", b"200 Tout va tr\xe8s bien", HIGH_BYTES)
    server.send(response)
    await client.until(rb"ok$")

    assert head == get(b"/x", HIGH_BYTES)
    assert client.take() == response


async def test_16_nothing_is_added_to_a_request(proxy: RunningProxy) -> None:
    """Only what the client sent arrives: no User-Agent, Accept, Via or Forwarded."""
    seen, _ = await proxy.exchange(get(), OK)

    assert seen == b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n"


async def test_16_nothing_is_added_to_a_response(proxy: RunningProxy) -> None:
    """No Date, Server, Content-Type or Via of the proxy's."""
    client, server = await proxy.begin(GET)
    server.send(sized(b"ok"))
    await client.until(rb"ok$")

    assert client.take() == sized(b"ok")


async def test_17_the_host_is_untouched(proxy: RunningProxy) -> None:
    """The upstream sees the name that the client has used."""
    request = get(b"/x").replace(b"Host: x", b"Host: Chat.Example:8443")
    seen, _ = await proxy.exchange(request, OK)

    assert seen == request


async def test_17_the_origin_is_told_where_that_is_wanted(start_proxy: StartProxy) -> None:
    """The client's address is appended, and what an earlier proxy has said of the rest is kept."""
    proxy = await start_proxy(forwarded_headers=True)
    before = (b"x-forwarded-for: 192.0.2.1", b"X-Forwarded-Proto: https")
    seen, _ = await proxy.exchange(get(b"/x", *before, b"X-Forwarded-For: 192.0.2.2"), OK)

    assert seen == get(
        b"/x",
        b"X-Forwarded-Proto: https",
        b"X-Forwarded-For: 192.0.2.1, 192.0.2.2, 127.0.0.1",
        b"X-Forwarded-Host: x",
    )


async def test_17_the_proxys_own_headers_cannot_be_taken_away(start_proxy: StartProxy) -> None:
    """They are added when what `Connection` nominates is gone."""
    proxy = await start_proxy(forwarded_headers=True)
    names = b"Connection: X-Forwarded-For, x-forwarded-proto, X-Forwarded-Host"
    seen, _ = await proxy.exchange(get(b"/x", names, b"X-Forwarded-For: 192.0.2.1"), OK)

    assert seen == get(
        b"/x",
        b"X-Forwarded-For: 127.0.0.1",
        b"X-Forwarded-Proto: http",
        b"X-Forwarded-Host: x",
    )


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(gzip.compress(b'{"model": "m"}' * 50, mtime=0), id="gzip"),
        pytest.param(bytes(range(256)) * 3, id="binary"),
        pytest.param(b'{"model": "m", "stream": true}', id="json"),
        pytest.param(b"\r\n0\r\n\r\n", id="looks-like-framing"),
    ],
)
async def test_18_the_body_of_a_request_is_untouched(proxy: RunningProxy, body: bytes) -> None:
    """A body with a length goes up raw; a content coding is not looked into."""
    request = post(body, b"Content-Encoding: gzip", b"Content-Type: application/json")

    seen, answer = await proxy.exchange(request, OK)

    assert answer.status == 200
    assert seen == request


async def test_18_the_body_of_a_response_is_untouched(proxy: RunningProxy) -> None:
    """A content coding belongs to the ends: nothing is decompressed here."""
    body = gzip.compress(b"x" * 1000, mtime=0)

    _, answer = await proxy.exchange(GET, sized(body, b"200 OK", b"Content-Encoding: gzip"))

    assert answer.body == body
    assert answer.header(b"Content-Encoding") == b"gzip"


@pytest.mark.parametrize(
    "method", [b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH", b"QUERY"]
)
async def test_19_no_body_gains_no_framing(proxy: RunningProxy, method: bytes) -> None:
    """A request without a body gets neither Content-Length nor Transfer-Encoding."""
    request = method + b" /x HTTP/1.1\r\nHost: x\r\n\r\n"

    seen, _ = await proxy.exchange(request, OK)

    assert seen == request


async def test_19_a_length_of_zero_is_kept(proxy: RunningProxy) -> None:
    """`Content-Length: 0` is kept."""
    seen, _ = await proxy.exchange(post(b""), OK)

    assert seen == post(b"")


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
async def test_20_a_response_without_a_body(
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


async def test_20_head_to_a_close_delimited_resource(proxy: RunningProxy) -> None:
    """HEAD gets no body and no framing that the upstream did not name."""
    client, server = await proxy.begin(HEAD)
    server.send(b"HTTP/1.1 200 OK\r\nX-A: 1\r\n\r\n")

    assert (await client.answer(to_head=True)).headers == [(b"X-A", b"1")]
    await server.ended()


@pytest.mark.parametrize("status", [b"301 Moved", b"404 Not Found", b"429 Slow Down", b"503 Busy"])
async def test_21_any_status_passes(proxy: RunningProxy, status: bytes) -> None:
    """Redirects are not followed, errors are not explained."""
    response = sized(b"body", status, b"Location: http://elsewhere.test/", b"Retry-After: 1")
    client, server = await proxy.begin(post(b"{}"))
    server.send(response)
    await client.until(rb"body$")

    assert client.take() == response


async def test_21_cookies_are_nobody_elses(proxy: RunningProxy, upstream: FakeUpstream) -> None:
    """What one client was given is not told to the upstream for another."""
    first, server = await proxy.begin(GET)
    await server.request()
    server.send(sized(b"ok", b"302 Found", b"Set-Cookie: a=1", b"Location: /y"))
    await first.answer()
    second = await proxy.connect()
    second.send(GET)
    head, _ = await server.request()  # on the same connection
    server.send(OK)

    assert head == GET
    assert (await second.answer()).headers == [(b"Content-Length", b"2")]
    assert len(upstream.peers) == 1


async def test_22_the_proxy_itself_asks_for_the_body(proxy: RunningProxy) -> None:
    """The proxy asks for the body itself: an upstream that reads first would wait for ever."""
    body = json.dumps({"model": "m"}).encode()
    head, _, _ = post(body, b"Expect: 100-Continue").partition(body)
    client, server = await proxy.begin(head)
    await client.until(rb"^HTTP/1\.1 100 Continue\r\n\r\n$")
    client.take()
    client.send(body)
    seen = await server.request()
    server.send(b"HTTP/1.1 100 Continue\r\n\r\n" + OK)
    answer = await client.answer()

    assert b"".join(seen) == post(body)
    assert answer.status == 200
    assert not client.received


async def test_22_nobody_is_asked_for_a_body_that_is_here(proxy: RunningProxy) -> None:
    """Nobody is asked for a body that is already here."""
    seen, answer = await proxy.exchange(post(b"{}", b"Expect: 100-continue"), OK)

    assert seen == post(b"{}")
    assert answer.size == len(OK)


async def test_22_a_final_answer_before_the_body(proxy: RunningProxy) -> None:
    """A final answer before the body reaches the client at once."""
    client, server = await proxy.begin(
        CHUNKED_POST.replace(b"Host: x", b"Host: x\r\nExpect: 100-continue")
    )
    server.send(sized(b"no", b"417 Expectation Failed"))
    await client.until(rb"HTTP/1\.1 417 Expectation Failed\r\n.*no$")


async def test_22_no_continue_to_http_1_0(proxy: RunningProxy) -> None:
    """HTTP/1.0 knows no informational responses."""
    request = post(b"{}", b"Expect: 100-continue", version=b"1.0")
    client, server = await proxy.begin(request[:-1])
    client.send(request[-1:])
    await server.request()
    server.send(OK)

    assert (await client.answer()).size == len(b"Connection: close\r\n" + OK)


@pytest.mark.parametrize(
    "expectations",
    [
        (b"Expect: miracles",),
        (b"Expect: 100-continue, miracles",),
        (b"Expect: 100-continue", b"Expect: miracles"),
    ],
)
async def test_22_another_expectation_is_refused(
    proxy: RunningProxy, expectations: tuple[bytes, ...]
) -> None:
    """What nobody promises to do is not passed on as if it were."""
    client = await proxy.connect()
    client.send(post(b"{}", *expectations))

    assert (await client.answer()).status == 417
    assert await client.ended() == "fin"
    assert proxy.upstream.peers == []


async def test_22_an_unasked_continue_stops_here(proxy: RunningProxy) -> None:
    """100 concerns the upload to the upstream, which the client does not see."""
    _, answer = await proxy.exchange(post(b"{}"), b"HTTP/1.1 100 Continue\r\n\r\n" + sized(b"ok"))

    assert answer.size == len(sized(b"ok"))


async def test_23_early_hints(proxy: RunningProxy) -> None:
    """Informational responses pass when they come, as often as they come, without their hops."""
    client, server = await proxy.begin(GET)
    server.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nConnection: X-Hop\r\nX-Hop: 1\r\n\r\n")
    await client.until(rb"^HTTP/1\.1 103 Early Hints\r\nLink: </a>\r\n\r\n$")
    client.take()
    server.send(b"HTTP/1.1 102 Processing\r\n\r\n" + sized(b"ok"))
    await client.until(rb"ok$")

    assert client.take() == b"HTTP/1.1 102 Processing\r\n\r\n" + sized(b"ok")


async def test_23_no_early_hints_to_http_1_0(proxy: RunningProxy) -> None:
    """HTTP/1.0 knows no informational responses."""
    _, answer = await proxy.exchange(GET_10, b"HTTP/1.1 103 Hints\r\nX: 1\r\n\r\n" + sized(b"ok"))

    assert answer.headers == [(b"Content-Length", b"2"), (b"Connection", b"close")]


async def test_23_trailers(proxy: RunningProxy) -> None:
    """Trailers follow the last chunk, in order and unchanged."""
    response = (
        b"HTTP/1.1 200 OK\r\nTrailer: X-A\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"3\r\nabc\r\n0\r\nX-A: 1\r\nx-a: caf\xe9\r\n\r\n"
    )
    client, server = await proxy.begin(GET)
    server.send(response)
    await client.until(rb"0\r\nX-A.*\r\n\r\n$")

    assert client.take() == response


TRAILED = CHUNKED_POST + chunk(b"{}") + b"0\r\nX-A: 1\r\nX-B: 2\r\n\r\n"


@pytest.mark.parametrize("size", [1, 7, 1000])
async def test_23_trailers_of_a_request_stop_here(proxy: RunningProxy, size: int) -> None:
    """They do not come out as headers of the next request on the connection."""
    client = await proxy.connect()
    server = None
    for request in (TRAILED, GET, TRAILED, TRAILED, GET):
        for i in range(0, len(request), size):
            client.send(request[i : i + size])
            await client.flush()
        server = server or await proxy.upstream.accept()
        head, body = await server.request()
        server.send(OK)

        assert head + body == (GET if request is GET else CHUNKED_POST + chunk(b"{}") + LAST_CHUNK)
        assert (await client.answer()).header(b"Connection") is None


@pytest.mark.parametrize("cut", [0, 5, *range(len(TRAILED) - 9, len(TRAILED)), len(TRAILED) + 9])
async def test_23_nothing_follows_trailers_that_it_may_be_mixed_with(
    proxy: RunningProxy, cut: int
) -> None:
    """A request that was sent along with the end of another's chunks is to be sent again."""
    data = TRAILED + TRAILED + GET
    client = await proxy.connect()
    client.send(data[:cut])
    await client.flush()
    client.send(data[cut:])
    server = await proxy.upstream.accept()
    await server.request()
    server.send(OK)

    assert (await client.answer()).status == 200
    assert await client.ended() == "fin"
    assert not server.received
    assert len(proxy.upstream.peers) == 1
