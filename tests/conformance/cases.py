"""What is sent through three proxies: raw requests of clients, raw responses of upstreams."""

from __future__ import annotations

import gzip

from tests.conformance.observed import LAST, Case
from tests.integration.fake_upstream import Ending
from tests.integration.harness import (
    CHUNKED_HEAD,
    GET,
    GET_10,
    HEAD,
    LAST_CHUNK,
    chunk,
    get_request,
    post,
    sized,
)

HOST = b"Host: x\r\n"
POST = b"POST /x HTTP/1.1\r\n" + HOST
CODING = b"Transfer-Encoding: chunked\r\n"
NO_CHUNKS = b"\r\n0\r\n\r\n"
ZIPPED = gzip.compress(b'{"model": "m"}' * 50, mtime=0)


def length(value: bytes) -> bytes:
    """Return a POST of two bytes that says its length like this."""
    return POST + b"Content-Length: " + value + b"\r\n\r\n{}"


def coding(value: bytes) -> bytes:
    """Return a POST of no chunks that says its coding like this."""
    return POST + b"Transfer-Encoding: " + value + b"\r\n" + NO_CHUNKS


def chunked(body: bytes, *headers: bytes) -> bytes:
    """Return a POST with this on the wire for its chunks."""
    return POST + CODING + b"".join(h + b"\r\n" for h in headers) + b"\r\n" + body


def method(name: bytes) -> bytes:
    """Return a request with this method."""
    return GET.replace(b"GET", name)


def version(value: bytes) -> bytes:
    """Return a request of this version."""
    return GET.replace(b"HTTP/1.1", value)


REQUESTS = {
    # framing
    "length and coding": POST + b"Content-Length: 5\r\n" + CODING + NO_CHUNKS,
    "coding and length": POST + CODING + b"Content-Length: 5\r\n" + NO_CHUNKS,
    "two equal lengths": POST + b"Content-Length: 2\r\n" * 2 + b"\r\n{}",
    "two lengths": POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    "list of lengths": length(b"2, 2"),
    "length with a plus": length(b"+2"),
    "length with a minus": length(b"-1"),
    "length with an underscore": length(b"1_0"),
    "length in hex": length(b"0x2"),
    "empty length": length(b""),
    "length of zero": POST + b"Content-Length: 0\r\n\r\n",
    "no length": POST + b"\r\n",
    "gzip, chunked": coding(b"gzip, chunked"),
    "xchunked": coding(b"xchunked"),
    "identity": coding(b"identity"),
    "chunked twice": coding(b"chunked, chunked"),
    "two codings": coding(b"chunked\r\nTransfer-Encoding: identity"),
    "Chunked": coding(b"Chunked"),
    "chunked in 1.0": coding(b"chunked").replace(b"1.1", b"1.0"),
    "chunks": chunked(chunk(b"abc") + chunk(b"\r\n0\r\n\r\n") + LAST_CHUNK),
    "chunk extension": chunked(b"3;a=b\r\nabc\r\n0\r\n\r\n"),
    "chunk size with zeros": chunked(b"0003\r\nabc\r\n000\r\n\r\n"),
    "chunk size and a space": chunked(b"3 \r\nabc\r\n0\r\n\r\n"),
    "chunk size that is none": chunked(b"0x3\r\nabc\r\n0\r\n\r\n"),
    "chunk with bare LF": chunked(b"3\nabc\n0\n\n"),
    "chunk that is too long": chunked(b"3\r\nabcde\r\n0\r\n\r\n"),
    "trailers of a request": chunked(b"3\r\nabc\r\n0\r\nX-A: 1\r\n\r\n", b"Trailer: X-A"),
    "GET with a body": GET[:-2] + b"Content-Length: 2\r\n\r\n{}",
    "DELETE with chunks": chunked(chunk(b"abc") + LAST_CHUNK).replace(b"POST", b"DELETE"),
    "gzip": post(ZIPPED, b"Content-Encoding: gzip"),
    # syntax
    "space before the colon": POST + CODING.replace(b":", b" :") + NO_CHUNKS,
    "folded header": get_request(b"/x", b"X-A: 1\r\n 2"),
    "bare LF": GET.replace(b"\r\n", b"\n"),
    "bare CR": get_request(b"/x", b"X-A: 1\rX-B: 2"),
    "NUL in a value": get_request(b"/x", b"X-A: a\0b"),
    "control in a value": get_request(b"/x", b"X-A: a\x01b"),
    "control in a name": get_request(b"/x", b"X\x01A: b"),
    "empty lines before": b"\r\n\r\n" + GET,
    "tab around a value": get_request(b"/x", b"X-A:\t a b\t "),
    "no header name": get_request(b"/x", b": a"),
    # versions, host, methods
    "no host": b"GET /x HTTP/1.1\r\n\r\n",
    "two hosts": get_request(b"/x", b"Host: y"),
    "empty host": GET.replace(b"Host: x", b"Host:"),
    "1.0": GET_10,
    "1.0 without a host": b"GET /x HTTP/1.0\r\n\r\n",
    "1.0 that stays": GET_10[:-2] + b"Connection: keep-alive\r\n\r\n",
    "1.0 and more": GET_10 + LAST,
    "closing, and more": GET[:-2] + b"Connection: close\r\n\r\n",
    "0.9": b"GET /x\r\n\r\n",
    "1.2": version(b"HTTP/1.2"),
    "2.0": version(b"HTTP/2.0"),
    "9.9": version(b"HTTP/9.9"),
    "lower-case version": version(b"http/1.1"),
    "CONNECT": b"CONNECT x:443 HTTP/1.1\r\nHost: x:443\r\n\r\n",
    "TRACE": method(b"TRACE"),
    "QUERY": method(b"QUERY"),
    "FOO": method(b"FOO"),
    "get": method(b"get"),
    "HEAD": HEAD,
    # targets
    "encoded target": get_request(b"/a%2Fb%2fc//d/../e/./f;g=1?q=%20+%zz&&h=i"),
    "lone question mark": get_request(b"/a?"),
    "odd characters": get_request(b"/[]{}|^'`\\~!$*"),
    "quotes and angles": get_request(b'/"<>'),
    "fragment": get_request(b"/a#b"),
    "target above ASCII": get_request(b"/caf\xe9"),
    "space in the target": get_request(b"/a b"),
    "absolute form": get_request(b"http://x/abs?q"),
    "absolute form of another host": get_request(b"http://other/abs"),
    "absolute form with a user": get_request(b"http://u:p@x/abs"),
    "OPTIONS *": b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
    "GET *": get_request(b"*"),
    "relative target": get_request(b"x"),
    "long target": get_request(b"/" + b"a" * 70_000),
    # headers
    "long header": get_request(b"/x", b"X-A: " + b"a" * 70_000),
    "many headers": get_request(b"/x", *[b"X-%d: 1" % i for i in range(200)]),
    "odd case": get_request(b"/x", b"x-A: 1", b"X-b: 2"),
    "duplicates": get_request(b"/x", b"X-A: 1", b"X-A: 2", b"Cookie: a=1", b"Cookie: b=2"),
    "duplicates of another case": get_request(b"/x", b"X-A: 1", b"x-a: 2"),
    "two user agents": get_request(b"/x", b"User-Agent: a", b"User-Agent: b"),
    "underscore": get_request(b"/x", b"Content_Length: 1"),
    "odd name": get_request(b"/x", b"!#$%&'*+-.^_`|~: 1"),
    "empty value": get_request(b"/x", b"X-A:", b"X-B: "),
    "value above ASCII": get_request(b"/x", b"X-A: caf\xe9 \xe2\x82\xac"),
    "hop-by-hop": get_request(b"/x", b"Connection: keep-alive", b"Keep-Alive: timeout=5"),
    "nominated": get_request(b"/x", b"Connection: X-Nom", b"X-Nom: 1"),
    "nominated host": get_request(b"/x", b"Connection: Host, Authorization", b"Authorization: a"),
    "Proxy-Connection": get_request(b"/x", b"Proxy-Connection: keep-alive"),
    "Proxy-Authorization": get_request(b"/x", b"Proxy-Authorization: Basic YTpi"),
    "TE": get_request(b"/x", b"TE: trailers", b"Connection: TE"),
    "h2c": get_request(b"/x", b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c",
                       b"HTTP2-Settings: AAMAAABkAAQAAP__"),
    "upgrade without Connection": get_request(b"/x", b"Upgrade: websocket"),
    "declined websocket": get_request(b"/x", b"Connection: Upgrade", b"Upgrade: websocket",
                                      b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
                                      b"Sec-WebSocket-Version: 13"),
    "X-Forwarded-For": get_request(b"/x", b"X-Forwarded-For: 192.0.2.1"),
    "expectation": post(b"{}", b"Expect: 100-continue", path=b"/x"),
    "unknown expectation": post(b"{}", b"Expect: miracles", path=b"/x"),
    "pipelined": get_request(b"/1") + post(b"{}", path=b"/2") + get_request(b"/3"),
}  # fmt: skip


def ok(*headers: bytes, body: bytes = b"ok", status: bytes = b"200 OK") -> bytes:
    """Return a response that says that it comes from the upstream."""
    return sized(body, status, b"X-Up: 1", *headers)


UP_CHUNKED = CHUNKED_HEAD.replace(b"\r\n", b"\r\nX-Up: 1\r\n", 1)
UP_CLOSE = b"HTTP/1.1 200 OK\r\nX-Up: 1\r\n\r\n"

RESPONSES = {
    "plain": Case(GET, ok()),
    "length and coding": Case(GET, UP_CHUNKED[:-2] + b"Content-Length: 9\r\n\r\n" + LAST_CHUNK),
    "two equal lengths": Case(GET, ok(b"Content-Length: 2")),
    "two lengths": Case(GET, ok(b"Content-Length: 3")),
    "gzip, chunked": Case(GET, UP_CHUNKED.replace(b"chunked", b"gzip, chunked") + LAST_CHUNK),
    "bad status line": Case(GET, b"ICY 200 OK\r\nX-Up: 1\r\n\r\n", Ending.FIN),
    "status of two digits": Case(GET, ok(status=b"99 Odd")),
    "bare LF": Case(GET, ok().replace(b"\r\n", b"\n")),
    "folded header": Case(GET, ok(b"X-A: 1\r\n 2")),
    "no reason": Case(GET, ok(status=b"200 ")),
    "odd reason": Case(GET, ok(status=b"200 Tr\xe8s bien")),
    "large head": Case(GET, ok(b"X-A: " + b"a" * 70_000)),
    "1.0": Case(GET, ok().replace(b"HTTP/1.1", b"HTTP/1.0"), Ending.FIN),
    "chunks": Case(GET, UP_CHUNKED + chunk(b"abc") + chunk(b"\r\n0\r\n\r\n") + LAST_CHUNK),
    "chunk extension": Case(GET, UP_CHUNKED + b"3;a=b\r\nabc\r\n0\r\n\r\n"),
    "bad chunk size": Case(GET, UP_CHUNKED + chunk(b"abc") + b"zz\r\n"),
    "cut chunks": Case(GET, UP_CHUNKED + chunk(b"abc"), Ending.FIN),
    "reset chunks": Case(GET, UP_CHUNKED + chunk(b"abc"), Ending.RST),
    "cut length": Case(GET, ok(body=b"abcdef")[:-3], Ending.FIN),
    "reset length": Case(GET, ok(body=b"abcdef")[:-3], Ending.RST),
    "until the end": Case(GET, UP_CLOSE + b"abc", Ending.FIN),
    "until a reset": Case(GET, UP_CLOSE + b"abc", Ending.RST),
    "until the end to 1.0": Case(GET_10, UP_CLOSE + b"abc", Ending.FIN),
    "until a reset to 1.0": Case(GET_10, UP_CLOSE + b"abc", Ending.RST),
    "chunks to 1.0": Case(GET_10, UP_CHUNKED + chunk(b"abc") + LAST_CHUNK),
    "cut chunks to 1.0": Case(GET_10, UP_CHUNKED + chunk(b"abc"), Ending.FIN),
    "end before the head": Case(GET, b"", Ending.FIN),
    "end in the head": Case(GET, b"HTTP/1.1 200 OK\r\nX-Up: 1\r\n", Ending.FIN),
    "surplus": Case(GET, ok() + b"surplus"),
    "two responses": Case(GET, ok() + ok(body=b"surplus")),
    "HEAD": Case(HEAD, ok().removesuffix(b"ok")),
    "body that answers HEAD": Case(HEAD, ok()),
    "chunked that answers HEAD": Case(HEAD, UP_CHUNKED),
    "204": Case(GET, b"HTTP/1.1 204 No Content\r\nX-Up: 1\r\n\r\n"),
    "204 with a length": Case(GET, ok(body=b"", status=b"204 No Content")),
    "304": Case(GET, b'HTTP/1.1 304 Not Modified\r\nX-Up: 1\r\nETag: "1"\r\n\r\n'),
    "304 with a length": Case(
        GET, b"HTTP/1.1 304 Not Modified\r\nX-Up: 1\r\nContent-Length: 42\r\n\r\n"
    ),
    "103": Case(GET, b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + ok()),
    "103 to 1.0": Case(GET_10, b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + ok()),
    "unasked 100": Case(GET, b"HTTP/1.1 100 Continue\r\n\r\n" + ok()),
    "unasked 101": Case(
        GET, b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"
    ),
    "trailers": Case(
        GET, UP_CHUNKED[:-2] + b"Trailer: X-A\r\n\r\n" + b"3\r\nabc\r\n0\r\nX-A: 1\r\n\r\n"
    ),
    "cookies": Case(GET, ok(b"Set-Cookie: a=1", b"Set-Cookie: b=2", b"set-cookie: c=3")),
    "redirect": Case(GET, ok(b"Location: http://other/", status=b"302 Found")),
    "own words": Case(GET, ok(b"Server: s", b"Date: d", b"Content-Type: text/plain")),
    "hop-by-hop": Case(GET, ok(b"Connection: X-Nom", b"X-Nom: 1", b"Keep-Alive: timeout=5")),
    "proxy authentication": Case(GET, ok(b"Proxy-Authenticate: Basic")),
    "odd case": Case(GET, ok(b"x-A: 1", b"X-b: 2")),
    "value above ASCII": Case(GET, ok(b"X-A: caf\xe9 \xe2\x82\xac")),
    "commands to nginx": Case(GET, ok(b"X-Accel-Buffering: no", b"X-Accel-Limit-Rate: 0")),
    "gzip": Case(GET, ok(b"Content-Encoding: gzip", body=ZIPPED)),
}  # fmt: skip
