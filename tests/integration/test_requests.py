"""What an upstream sees of a request: everything that the client sent, and nothing else."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING

import pytest

from tests.integration.fake_upstream import parse_chunks, split_headers
from tests.integration.harness import CHAT_PATH, chunk, post, sized
from tests.integration.harness import get_request as get

if TYPE_CHECKING:
    from tests.integration.fake_upstream import FakeUpstream
    from tests.integration.harness import RunningProxy

OK = sized(b"ok")
CHUNKED = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


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
async def test_target_is_untouched(proxy: RunningProxy, target: bytes) -> None:
    """Path and query reach the upstream byte for byte."""
    seen, answer = await proxy.exchange(get(target), OK)

    assert answer.status == 200
    assert seen == get(target)


@pytest.mark.parametrize(
    ("target", "origin_form"),
    [
        (b"http://elsewhere.test/a%2Fb?", b"/a%2Fb?"),
        (b"https://elsewhere.test:99?q", b"/?q"),
        (b"http://elsewhere.test", b"/"),
        (b"http://user:secret@elsewhere.test//x", b"//x"),
    ],
)
async def test_absolute_form(proxy: RunningProxy, target: bytes, origin_form: bytes) -> None:
    """A URL as the target goes to the one upstream, in origin-form and with the client's Host."""
    seen, answer = await proxy.exchange(get(target), OK)

    assert answer.status == 200
    assert seen == get(origin_form)


async def test_options_asterisk(proxy: RunningProxy) -> None:
    """`OPTIONS *` is a question to the server, and is forwarded."""
    request = b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n"

    seen, answer = await proxy.exchange(request, OK)

    assert answer.status == 200
    assert seen == request


async def test_headers_are_untouched(proxy: RunningProxy) -> None:
    """Names, case, order, duplicates, empty values and bytes above 0x7F are kept."""
    headers = (
        b"X-Dup: 1",
        b"x-dup: 2",
        b"X-DUP: 1",
        b"X-Latin: caf\xe9",
        b"X-Utf8: \xe2\x82\xac",
        b"X-Empty: ",
        b"X_Underscore: 1",
        b"Cookie: a=1",
        b"Cookie: b=2",
        b"X-Forwarded-For: 10.0.0.1",
        b"Authorization: Bearer secret",
    )

    seen, _ = await proxy.exchange(get(b"/x", *headers), OK)

    assert seen == get(b"/x", *headers)


async def test_no_header_is_added(proxy: RunningProxy) -> None:
    """Only what the client sent arrives: no User-Agent, Accept, Via or Forwarded."""
    seen, _ = await proxy.exchange(get(), OK)

    assert seen == b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize(
    "method", [b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH", b"QUERY"]
)
async def test_no_body_gains_no_framing(proxy: RunningProxy, method: bytes) -> None:
    """A request without a body gets neither Content-Length nor Transfer-Encoding."""
    request = method + b" /x HTTP/1.1\r\nHost: x\r\n\r\n"

    seen, _ = await proxy.exchange(request, OK)

    assert seen == request


async def test_empty_sized_body(proxy: RunningProxy) -> None:
    """`Content-Length: 0` is kept."""
    seen, _ = await proxy.exchange(post(b""), OK)

    assert seen == post(b"")


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(gzip.compress(b'{"model": "m"}' * 50, mtime=0), id="gzip"),
        pytest.param(bytes(range(256)) * 3, id="binary"),
        pytest.param(b'{"model": "m", "stream": true}', id="json"),
        pytest.param(b"\r\n0\r\n\r\n", id="looks-like-framing"),
    ],
)
async def test_sized_body_is_untouched(proxy: RunningProxy, body: bytes) -> None:
    """A body with a length goes up raw; a content coding is not looked into."""
    request = post(body, b"Content-Encoding: gzip", b"Content-Type: application/json")

    seen, answer = await proxy.exchange(request, OK)

    assert answer.status == 200
    assert seen == request


async def test_chunked_body_is_framed_anew(proxy: RunningProxy) -> None:
    """A chunked upload goes up in chunks while it arrives; extensions and trailers stop here."""
    client, server = await proxy.begin(CHUNKED)
    pieces = [b"{" + bytes(range(256)), b"\r\n0\r\n\r\n", b"x" * 5000]
    for piece in pieces:
        client.send(b"%X;ext=1\r\n%b\r\n" % (len(piece), piece))
        await server.until(rb"\r\n\r\n.*" + _escaped(piece[-200:]) + rb"\r\n$")
    client.send(b"0\r\nX-Trailer: 1\r\n\r\n")
    head, body = await server.request()
    server.send(OK)

    assert (await client.answer()).status == 200
    assert head == CHUNKED
    assert parse_chunks(body) == b"".join(pieces)


async def test_request_bytes_one_by_one(proxy: RunningProxy) -> None:
    """A request that drips in a byte at a time arrives whole."""
    request = CHUNKED.replace(b"Host: x", b"hOsT: x\r\nX-A: caf\xe9") + chunk(b"abc") + b"0\r\n\r\n"
    client = await proxy.connect()
    for i in range(len(request)):
        client.send(request[i : i + 1])
        await client.flush()
    server = await proxy.upstream.accept()
    head, body = await server.request()

    assert head == request[: request.index(b"\r\n\r\n") + 4]
    assert parse_chunks(body) == b"abc"


async def test_hop_by_hop_headers_stop_here(proxy: RunningProxy) -> None:
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


async def test_nominating_end_to_end_headers(proxy: RunningProxy) -> None:
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


async def test_http10_client(proxy: RunningProxy) -> None:
    """An HTTP/1.0 request goes up as HTTP/1.1, with the Host that 1.1 demands."""
    seen, answer = await proxy.exchange(b"GET /health HTTP/1.0\r\n\r\n", OK)

    assert answer.status == 200
    assert split_headers(seen.split(b"\r\n")[1:-2]) == [(b"Host", b"")]
    assert seen.startswith(b"GET /health HTTP/1.1\r\n")


async def test_expect_continue(proxy: RunningProxy) -> None:
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


async def test_expect_with_the_body_at_hand(proxy: RunningProxy) -> None:
    """Nobody is asked for a body that is already here."""
    seen, answer = await proxy.exchange(post(b"{}", b"Expect: 100-continue"), OK)

    assert seen == post(b"{}")
    assert answer.size == len(OK)


async def test_expect_refused_by_the_upstream(proxy: RunningProxy) -> None:
    """A final answer before the body reaches the client at once."""
    client, server = await proxy.begin(
        CHUNKED.replace(b"Host: x", b"Host: x\r\nExpect: 100-continue")
    )
    server.send(sized(b"no", b"417 Expectation Failed"))
    await client.until(rb"HTTP/1\.1 417 Expectation Failed\r\n.*no$")


async def test_no_continue_to_http10(proxy: RunningProxy) -> None:
    """HTTP/1.0 knows no informational responses."""
    request = post(b"{}", b"Expect: 100-continue", version=b"1.0")
    client, server = await proxy.begin(request[:-1])
    client.send(request[-1:])
    await server.request()
    server.send(OK)

    assert (await client.answer()).size == len(b"Connection: close\r\n" + OK)


POST_HEAD = b"POST /secret HTTP/1.1\r\nHost: secret\r\n"
GET_HEAD = b"GET /secret HTTP/1.1\r\nHost: secret\r\n"
LENGTH = b"Content-Length: 2\r\n"
CODING = b"Transfer-Encoding: chunked\r\n"
NO_CHUNKS = b"\r\n0\r\n\r\n"
REFUSED = {
    "length and coding": (400, POST_HEAD + LENGTH + CODING + NO_CHUNKS),
    "coding and length": (400, POST_HEAD + CODING + LENGTH + NO_CHUNKS),
    "two lengths": (400, POST_HEAD + LENGTH + LENGTH + b"\r\n{}"),
    "different lengths": (400, POST_HEAD + LENGTH + b"Content-Length: 3\r\n\r\n{}"),
    **{
        f"length {value!r}": (400, POST_HEAD + b"Content-Length: %b\r\n\r\n{}" % value)
        for value in (b"2, 2", b"+2", b"-1", b"1_0", b"0x2", b"")
    },
    **{
        f"coding {value!r}": (
            501 if value == b"gzip, chunked" else 400,
            POST_HEAD + b"Transfer-Encoding: %b\r\n" % value + NO_CHUNKS,
        )
        for value in (
            *(b"gzip, chunked", b"xchunked", b"identity", b"chunked, chunked", b"chunked, gzip"),
            b"",
        )
    },
    "two codings": (400, POST_HEAD + CODING + b"Transfer-Encoding: gzip\r\n" + NO_CHUNKS),
    "coding in 1.0": (400, POST_HEAD.replace(b"1.1", b"1.0") + CODING + NO_CHUNKS),
    "space before the colon": (400, POST_HEAD + CODING.replace(b":", b" :") + NO_CHUNKS),
    "folded header": (400, GET_HEAD + b"X-A: 1\r\n secret\r\n\r\n"),
    "bare LF": (400, b"GET /secret HTTP/1.1\nHost: secret\n\n"),
    "NUL in a value": (400, GET_HEAD + b"X-A: a\0b\r\n\r\n"),
    "control in a value": (400, GET_HEAD + b"X-A: a\x01b\r\n\r\n"),
    "control in a name": (400, GET_HEAD + b"X\x01A: b\r\n\r\n"),
    "no host": (400, b"GET /secret HTTP/1.1\r\n\r\n"),
    "two hosts": (400, GET_HEAD + b"Host: secret\r\n\r\n"),
    "HTTP/0.9": (505, b"GET /secret\r\n\r\n"),
    "HTTP/1.2": (400, GET_HEAD.replace(b"1.1", b"1.2") + b"\r\n"),
    "HTTP/2.0": (505, GET_HEAD.replace(b"1.1", b"2.0") + b"\r\n"),
    "HTTP/9.9": (400, GET_HEAD.replace(b"1.1", b"9.9") + b"\r\n"),
    "HTTP/2 preface": (400, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    "TLS": (400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03secret"),
    "CONNECT": (405, b"CONNECT secret:443 HTTP/1.1\r\nHost: secret\r\n\r\n"),
    "TRACE": (405, GET_HEAD.replace(b"GET", b"TRACE") + b"\r\n"),
    "unknown method": (400, GET_HEAD.replace(b"GET", b"SECRET") + b"\r\n"),
    "lower-case method": (400, GET_HEAD.replace(b"GET", b"get") + b"\r\n"),
    "asterisk": (400, GET_HEAD.replace(b"/secret", b"*") + b"\r\n"),
    "relative target": (400, GET_HEAD.replace(b"/", b"", 1) + b"\r\n"),
    "other scheme": (400, GET_HEAD.replace(b"/", b"ftp://secret/", 1) + b"\r\n"),
    "byte above 0x7F in the target": (400, GET_HEAD.replace(b"/", b"/\xe9", 1) + b"\r\n"),
    "space in the target": (400, GET_HEAD.replace(b"/", b"/a ", 1) + b"\r\n"),
    "unknown expectation": (417, GET_HEAD + b"Expect: secret\r\n\r\n"),
    "long line": (400, GET_HEAD.replace(b"/", b"/" + b"a" * 70_000, 1) + b"\r\n"),
    "long header": (400, GET_HEAD + b"X-A: " + b"a" * 70_000 + b"\r\n\r\n"),
    "many headers": (400, GET_HEAD + b"X-A: secret\r\n" * 200 + b"\r\n"),
    "bad chunk size": (400, CHUNKED + b"secret\r\n\r\n"),
    "chunk with bare LF": (400, CHUNKED + b"3\nabc\n0\n\n"),
}


@pytest.mark.parametrize(("status", "request_bytes"), REFUSED.values(), ids=REFUSED)
async def test_refused(
    proxy: RunningProxy, upstream: FakeUpstream, status: int, request_bytes: bytes
) -> None:
    """The client learns of it and is cut off, the upstream learns nothing, nothing is echoed."""
    client = await proxy.connect()
    client.send(request_bytes)
    answer = await client.answer()

    assert answer.status == status
    assert answer.header(b"Connection") == b"close"
    assert b"secret" not in answer.body
    error = json.loads(answer.body)["error"]
    assert (error["type"], error["code"]) == ("proxy_error", "refused")
    assert await client.ended() == "fin"
    assert not client.received
    await proxy.idle()
    assert upstream.peers == []


async def test_malformed_chunk_in_mid_upload(
    proxy: RunningProxy, caplog: pytest.LogCaptureFixture
) -> None:
    """A spoiled upload ends the request, and never looks complete to the upstream."""
    client, server = await proxy.begin(CHUNKED + chunk(b"abc"))
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
    client, server = await proxy.begin(CHUNKED + chunk(b"abc"))
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
    client.send(CHUNKED)
    await client.flush()
    client.send(b"zz\r\n")

    assert (await client.answer()).status == 400
    await proxy.idle()
    assert upstream.size in {0, len(CHUNKED)}


async def test_declined_upgrade(proxy: RunningProxy) -> None:
    """An upgrade that the server declines is a plain exchange, also for what follows it."""
    handshake = get(b"/ws", b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Key: a")
    client, server = await proxy.begin(handshake + get(b"/1") + get(b"/2"))
    answers = []
    for target, body in ((b"/ws", b"426"), (b"/1", b"1"), (b"/2", b"2")):
        head, _ = await server.request()
        wishes = [b"Sec-WebSocket-Key: a", b"Connection: Upgrade", b"Upgrade: websocket"]
        assert head == get(target, *(wishes if target == b"/ws" else []))
        server.send(sized(body))
        answers.append((await client.answer()).body)
    client.send(get(b"/3"))
    await server.request()

    assert answers == [b"426", b"1", b"2"]


async def test_inference_paths_only_are_judged(proxy: RunningProxy) -> None:
    """What is not inference is counted apart."""
    await proxy.exchange(get(b"/v1/models"), OK)
    await proxy.exchange(get(CHAT_PATH), OK)
    samples = await proxy.samples()

    for kind in ("metadata", "other"):
        assert samples.total("goodput_passthrough_requests_total", kind=kind) == 1
    assert samples.verdicts() == {}


def _escaped(data: bytes) -> bytes:
    return b"".join(b"\\x%02x" % byte for byte in data)
