"""Promises 1 to 10: where a message ends is never in doubt, and what is in doubt goes nowhere."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.integration.harness import (
    CHUNKED_HEAD,
    CHUNKED_POST,
    GET,
    HEAD,
    LAST_CHUNK,
    chunk,
    post,
    sized,
)
from tests.integration.harness import get_request as get

if TYPE_CHECKING:
    from tests.integration.harness import RunningProxy

OK = sized(b"ok")
# What must not be repeated in an answer says so.
POST_HEAD = b"POST /secret HTTP/1.1\r\nHost: secret\r\n"
GET_HEAD = b"GET /secret HTTP/1.1\r\nHost: secret\r\n"
LENGTH = b"Content-Length: 2\r\n"
CODING = b"Transfer-Encoding: chunked\r\n"
NO_CHUNKS = b"\r\n0\r\n\r\n"


def target(value: bytes) -> bytes:
    """Return a request for a target."""
    return GET_HEAD.replace(b"/secret", value, 1) + b"\r\n"


def version(value: bytes) -> bytes:
    """Return a request that says it is of some version."""
    return GET_HEAD.replace(b"HTTP/1.1", value) + b"\r\n"


async def check_refusal(proxy: RunningProxy, request: bytes, status: int) -> None:
    """Check that a client learns of it and is cut off, the upstream of nothing; it is counted."""
    client = await proxy.connect()
    client.send(request)
    answer = await client.answer()

    assert answer.status == status
    assert answer.header(b"Connection") == b"close"
    assert b"secret" not in answer.body
    error = json.loads(answer.body)["error"]
    assert (error["type"], error["code"]) == ("proxy_error", "refused")
    assert await client.ended() == "fin"
    assert not client.received
    samples = await proxy.samples()
    assert samples.total("goodput_passthrough_requests_total", kind="refused") == 1
    assert samples.total("goodput_passthrough_requests_total") == 1
    assert samples.verdicts() == {}
    assert proxy.upstream.peers == []


@pytest.mark.parametrize("fields", [LENGTH + CODING, CODING + LENGTH, CODING + LENGTH.lower()])
async def test_01_a_length_beside_a_coding_is_refused(proxy: RunningProxy, fields: bytes) -> None:
    """Who is behind the proxy might follow the other of the two."""
    await check_refusal(proxy, POST_HEAD + fields + NO_CHUNKS, 400)


@pytest.mark.parametrize(
    "value", [b"2, 2", b"+2", b"-1", b"1_0", b"0x2", b"", b"2 2", b"2;", b"\xb2", b"9" * 30]
)
async def test_02_what_is_no_length_is_refused(proxy: RunningProxy, value: bytes) -> None:
    """A length is digits, and fewer than overflow."""
    await check_refusal(proxy, POST_HEAD + b"Content-Length: %b\r\n\r\n{}" % value, 400)


@pytest.mark.parametrize("second", [LENGTH, LENGTH.lower(), b"Content-Length: 3\r\n"])
async def test_02_two_lengths_are_refused(proxy: RunningProxy, second: bytes) -> None:
    """Whether they agree or not."""
    await check_refusal(proxy, POST_HEAD + LENGTH + second + b"\r\n{}", 400)


@pytest.mark.parametrize(
    ("value", "status"),
    [
        (b"gzip, chunked", 501),
        (b"xchunked", 400),
        (b"identity", 400),
        (b"chunked, chunked", 400),
        (b"chunked, gzip", 400),
        (b"chunked;q=1", 400),
        (b"\x0bchunked", 400),
        (b"", 400),
        (b"chunked\r\nTransfer-Encoding: gzip", 400),
        (b"gzip\r\nTransfer-Encoding: chunked", 400),
        (b"chunked\r\nTransfer-Encoding: chunked", 400),
    ],
)
async def test_03_another_coding_is_refused(proxy: RunningProxy, value: bytes, status: int) -> None:
    """Nothing but chunked is understood, and nothing else is passed on as if it were."""
    request = POST_HEAD + b"Transfer-Encoding: %b\r\n" % value + NO_CHUNKS
    await check_refusal(proxy, request, status)


async def test_04_a_coding_in_http_1_0_is_refused(proxy: RunningProxy) -> None:
    """HTTP/1.0 has none, and who speaks it might not have meant it."""
    await check_refusal(proxy, POST_HEAD.replace(b"1.1", b"1.0") + CODING + NO_CHUNKS, 400)


MALFORMED = {
    "space before the colon": POST_HEAD + CODING.replace(b":", b" :") + NO_CHUNKS,
    "folded header": GET_HEAD + b"X-A: 1\r\n secret\r\n\r\n",
    "space before the first header": GET_HEAD.replace(b"Host", b" Host") + b"\r\n",
    "header without a colon": GET_HEAD + b"X-A\r\n\r\n",
    "header without a name": GET_HEAD + b": a\r\n\r\n",
    "bare LF": GET_HEAD.replace(b"\r\n", b"\n") + b"\n",
    "bare LF behind a header": GET_HEAD + b"X-A: 1\n\r\n",
    "bare LF at the end": GET_HEAD + b"\n",
    "bare CR": GET_HEAD + b"X-A: 1\rX-B: 2\r\n\r\n",
    "NUL in a value": GET_HEAD + b"X-A: a\0b\r\n\r\n",
    "control in a value": GET_HEAD + b"X-A: a\x01b\r\n\r\n",
    "DEL in a value": GET_HEAD + b"X-A: a\x7fb\r\n\r\n",
    "control in a name": GET_HEAD + b"X\x01A: b\r\n\r\n",
    "byte above 0x7F in a name": GET_HEAD + b"X\xe9A: b\r\n\r\n",
    "space in the target": target(b"/a secret"),
    "control in the target": target(b"/a\x01"),
    "bad chunk size": CHUNKED_POST + b"secret\r\n\r\n",
    "negative chunk size": CHUNKED_POST + b"-1\r\n\r\n",
    "huge chunk size": CHUNKED_POST + b"f" * 17 + b"\r\n\r\n",
    "space behind a chunk size": CHUNKED_POST + b"3 \r\nabc\r\n0\r\n\r\n",
    "chunk with bare LF": CHUNKED_POST + b"3\nabc\n0\n\n",
    "chunk data with bare LF": CHUNKED_POST + b"3\r\nabc\n0\r\n\r\n",
    "chunk without a line end": CHUNKED_POST + b"3\r\nabcde\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("request_bytes", MALFORMED.values(), ids=MALFORMED)
async def test_05_malformed_syntax_is_refused(proxy: RunningProxy, request_bytes: bytes) -> None:
    """What parsers read differently is not passed on."""
    await check_refusal(proxy, request_bytes, 400)


@pytest.mark.parametrize(
    "head",
    [
        b"GET /secret HTTP/1.1\r\n",
        GET_HEAD + b"Host: secret\r\n",
        GET_HEAD + b"hOST: other\r\n",
    ],
)
async def test_06_one_host_is_demanded(proxy: RunningProxy, head: bytes) -> None:
    """HTTP/1.1 names its host once."""
    await check_refusal(proxy, head + b"\r\n", 400)


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET /secret\r\n\r\n", 505),
        (version(b"HTTP/1.2"), 400),
        (version(b"HTTP/2.0"), 505),
        (version(b"HTTP/9.9"), 400),
        (version(b"http/1.1"), 400),
        (version(b"HTTP/1.1 "), 400),
        (version(b"HTTP/01.1"), 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03secret", 400),
    ],
    ids=repr,
)
async def test_06_other_versions_are_refused(
    proxy: RunningProxy, request_bytes: bytes, status: int
) -> None:
    """HTTP/1.0 and 1.1 are spoken here, and the answer always says HTTP/1.1."""
    await check_refusal(proxy, request_bytes, status)


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (GET_HEAD + b"X-A: \x00secret\r\n\r\n", 400),
        (b"secret\r\n\r\n", 400),
        (target(b"secret"), 400),
        (GET_HEAD + b"Expect: secret\r\n\r\n", 417),
        (CHUNKED_POST + b"secret\r\n\r\n", 400),
        (CHUNKED_POST + chunk(b"abc") + b"secret\r\n\r\n", 400),
    ],
)
async def test_07_no_error_repeats_what_was_sent(
    proxy: RunningProxy, request_bytes: bytes, status: int
) -> None:
    """A page that shows an answer cannot be made to show what an attacker has sent."""
    await check_refusal(proxy, request_bytes, status)


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"CONNECT secret:443 HTTP/1.1\r\nHost: secret\r\n\r\n", 405),
        (GET_HEAD.replace(b"GET", b"TRACE") + b"\r\n", 405),
        (GET_HEAD.replace(b"GET", b"SECRET") + b"\r\n", 400),
        (GET_HEAD.replace(b"GET", b"get") + b"\r\n", 400),
        (target(b"*"), 400),
        (target(b"secret"), 400),
        (target(b"ftp://secret/"), 400),
        (target(b"http://"), 400),
    ],
)
async def test_08_what_is_asked_of_no_server(
    proxy: RunningProxy, request_bytes: bytes, status: int
) -> None:
    """The proxy opens no tunnels, echoes nothing, and goes to the one upstream only."""
    await check_refusal(proxy, request_bytes, status)


@pytest.mark.parametrize(
    ("target", "origin_form"),
    [
        (b"http://elsewhere.test/a%2Fb?", b"/a%2Fb?"),
        (b"https://elsewhere.test:99?q", b"/?q"),
        (b"http://elsewhere.test", b"/"),
        (b"http://user:secret@elsewhere.test//x", b"//x"),
    ],
)
async def test_08_absolute_form(proxy: RunningProxy, target: bytes, origin_form: bytes) -> None:
    """A URL as the target goes to the one upstream, in origin-form and with the client's Host."""
    seen, answer = await proxy.exchange(get(target), OK)

    assert answer.status == 200
    assert seen == get(origin_form)


async def test_08_options_asterisk(proxy: RunningProxy) -> None:
    """`OPTIONS *` is a question to the server, and is forwarded."""
    request = b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n"

    seen, answer = await proxy.exchange(request, OK)

    assert answer.status == 200
    assert seen == request


async def test_08_options_of_a_url_without_a_path(proxy: RunningProxy) -> None:
    """It asks the same of the server as `OPTIONS *` (RFC 9112, 3.2.4)."""
    seen, _ = await proxy.exchange(b"OPTIONS http://elsewhere.test HTTP/1.1\r\nHost: x\r\n\r\n", OK)

    assert seen == b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n"


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
async def test_09_a_malformed_response_is_a_bad_gateway(
    proxy: RunningProxy, response: bytes
) -> None:
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
async def test_09_a_head_without_an_end(proxy: RunningProxy, start: bytes) -> None:
    """A head that never ends is broken off when it is too large, not collected."""
    client, server = await proxy.begin(GET)
    server.send(start)
    await server.pour([b"a" * 4096] * 1000)

    assert (await client.answer()).status == 502
    await server.ended()


async def test_09_a_chunk_extension_without_an_end(proxy: RunningProxy) -> None:
    """What the parser holds back inside a body is bounded, too."""
    client, server = await proxy.begin(GET)
    server.send(CHUNKED_HEAD + chunk(b"abc") + b"3;a=")
    await server.pour([b"a" * 4096] * 1000)

    assert await client.ended() == "fin"
    assert not (await client.answer()).complete


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
async def test_10_surplus_reaches_no_client(
    proxy: RunningProxy, request_bytes: bytes, response: bytes
) -> None:
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


async def test_10_an_upstream_that_speaks_unasked(proxy: RunningProxy) -> None:
    """A server that speaks unasked is out of step: its connection is closed."""
    client, server = await proxy.begin(GET)
    server.send(sized(b"ok"))
    await client.answer()
    server.send(sized(b"surplus"))
    await server.ended()

    assert not client.received
    assert client.ending is None
