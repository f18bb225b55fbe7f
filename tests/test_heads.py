"""Heads: what is refused, what is passed on as it came, what stops here."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from goodput_proxy.forwarded import Origin
from goodput_proxy.heads import (
    Refusal,
    check_request,
    check_size,
    error_body,
    find_header,
    join_header,
    request_head,
    response_head,
)

if TYPE_CHECKING:
    from goodput_proxy.heads import Headers

HOST = (b"Host", b"x")
CHUNKED = (b"Transfer-Encoding", b"chunked")


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/", "/"),
        ("/a%2Fb//../?", "/a%2Fb//../?"),
        ("//host/path", "//host/path"),
        ("http://other/a?b", "/a?b"),
        ("HTTPS://other:9/a", "/a"),
        ("http://other", "/"),
        ("http://other?q", "/?q"),
        ("http://user:secret@other//a", "//a"),
        ("http:///a", "/a"),
    ],
)
def test_targets_are_sent_in_origin_form(target: str, expected: str) -> None:
    """A path is kept byte for byte; of a URL the path and the query are kept."""
    assert check_request("GET", target, (1, 1), [HOST], chunked=False) == expected


def test_options_of_the_whole_server() -> None:
    """`OPTIONS *` is the one request without a path; a URL without a path says the same."""
    for target in ("*", "http://other"):
        assert check_request("OPTIONS", target, (1, 1), [HOST], chunked=False) == "*"
    assert check_request("OPTIONS", "http://other/", (1, 1), [HOST], chunked=False) == "/"


@pytest.mark.parametrize(
    ("status", "method", "target", "version", "headers"),
    [
        (505, "GET", "/", (2, 0), [HOST]),
        (505, "GET", "/", (0, 9), [HOST]),
        (405, "CONNECT", "x:1", (1, 1), [HOST]),
        (405, "TRACE", "/", (1, 1), [HOST]),
        (400, "POST", "/", (1, 0), [CHUNKED]),
        (501, "POST", "/", (1, 1), [HOST, (b"transfer-encoding", b"gzip, chunked")]),
        (501, "POST", "/", (1, 1), [HOST, CHUNKED, CHUNKED]),
        (400, "GET", "/", (1, 1), []),
        (417, "POST", "/", (1, 1), [HOST, (b"Expect", b"miracles")]),
        (417, "POST", "/", (1, 1), [HOST, (b"Expect", b"100-continue, miracles")]),
        (417, "POST", "/", (1, 1), [HOST, (b"Expect", b"100-continue"), (b"Expect", b"x")]),
        (400, "GET", "*", (1, 1), [HOST]),
        (400, "GET", "path", (1, 1), [HOST]),
        (400, "GET", "", (1, 1), [HOST]),
        (400, "GET", "ftp://x/", (1, 1), [HOST]),
        (400, "GET", "http://", (1, 1), [HOST]),
    ],
)
def test_refusals(
    status: int, method: str, target: str, version: tuple[int, int], headers: Headers
) -> None:
    """What must not be forwarded is refused with the status that the RFCs name."""
    with pytest.raises(Refusal) as caught:
        check_request(method, target, version, headers, chunked=bool(headers))

    assert caught.value.status == status
    assert set(json.loads(caught.value.body)) == {"error"}


def test_the_largest_head() -> None:
    """The bound is that of names, values and target together."""
    check_size("/" * 993, [HOST, (b"", b"xx")], 1000)
    for target, headers in (
        ("/" * 994, [HOST, (b"", b"xx")]),
        ("/", [HOST, *[(b"X", b"y")] * 500]),
    ):
        with pytest.raises(Refusal) as caught:
            check_size(target, headers, 1000)
        assert caught.value.status == 431


def test_a_refusal_is_a_whole_answer() -> None:
    """It closes the connection; an answer to HEAD has no body."""
    refusal = Refusal(400, b"Bad Request", "No.")
    head, body = refusal.answer().split(b"\r\n\r\n")

    assert head.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert head.endswith(b"\r\nConnection: close")
    assert body == error_body("No.", "refused")
    assert refusal.answer(to_head=True) == head + b"\r\n\r\n"


def test_http_1_0_needs_no_host() -> None:
    """The Host header came with HTTP/1.1."""
    assert check_request("GET", "/", (1, 0), [], chunked=False) == "/"
    assert request_head("GET", "/", [], chunked=False) == b"GET / HTTP/1.1\r\nHost:\r\n\r\n"


def test_end_to_end_headers_are_kept_as_they_are() -> None:
    """Order, case, duplicates and bytes above ASCII are none of the proxy's business."""
    headers = [HOST, (b"X-a", b"1"), (b"x-A", b"2"), (b"X-a", b"\xe9"), (b"Content-Length", b"3")]
    head = request_head("POST", "/caf\udce9", headers, chunked=False)

    assert head == (
        b"POST /caf\xe9 HTTP/1.1\r\nHost: x\r\nX-a: 1\r\nx-A: 2\r\nX-a: \xe9\r\n"
        b"Content-Length: 3\r\n\r\n"
    )


def test_headers_of_one_connection_stop_here() -> None:
    """Hop-by-hop headers and what `Connection` nominates are not passed on, in any case."""
    headers = [
        HOST,
        (b"Connection", b""),
        (b"connection", b"close, X-One,content-length"),
        (b"X-ONE", b"1"),
        (b"Content-Length", b"0"),
        (b"Upgrade", b"h2c"),
        (b"TE", b"trailers"),
        (b"Expect", b"100-continue"),
        (b"Trailer", b"x-sum"),
    ]

    assert request_head("GET", "/", headers, chunked=False) == (
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nTrailer: x-sum\r\n\r\n"
    )
    assert response_head(200, b"Fine", headers, [b"Own: 1"]) == (
        b"HTTP/1.1 200 Fine\r\nHost: x\r\nContent-Length: 0\r\nExpect: 100-continue\r\n"
        b"Trailer: x-sum\r\nOwn: 1\r\n\r\n"
    )


def test_nominating_end_to_end_headers() -> None:
    """`Connection` cannot be used to take away what others rely on."""
    names = (b"Host", b"Authorization", b"Content-Type", b"Content-Encoding", b"Cookie")
    headers = [(name, b"1") for name in names]
    nominating = (b"Connection", b", ".join(names))

    plain = request_head("GET", "/", headers, chunked=False)
    assert plain == request_head("GET", "/", [nominating, *headers], chunked=False)


def test_a_chunked_request_is_framed_anew() -> None:
    """The framing header is written by who frames."""
    head = request_head("POST", "/", [HOST, CHUNKED], chunked=True)

    assert head == b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


def test_finding_a_header() -> None:
    """Names are compared without case; what is absent is empty."""
    assert find_header([HOST, (b"X-A", b"1"), (b"x-a", b"2")], b"x-a") == b"1"
    assert find_header([HOST], b"x-a") == b""


def test_the_origin_is_told_behind_what_stops_here() -> None:
    """A client cannot have the proxy's own headers taken away."""
    headers = [(b"Connection", b"X-Forwarded-For"), HOST, (b"X-Forwarded-For", b"forged")]
    head = request_head("GET", "/", headers, chunked=False, origin=Origin(b"192.0.2.1", b"http"))

    assert head == (
        b"GET / HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 192.0.2.1\r\n"
        b"X-Forwarded-Proto: http\r\nX-Forwarded-Host: x\r\n\r\n"
    )


def test_joining_a_header() -> None:
    """Several lines are one list."""
    assert join_header([HOST, (b"X-A", b"1"), (b"x-a", b"2, 3")], b"x-a") == b"1, 2, 3"
    assert join_header([HOST], b"x-a") == b""


def test_errors_have_the_shape_that_clients_expect() -> None:
    """An SDK finds the message where OpenAI's API puts it."""
    assert json.loads(error_body("No.", "code")) == {
        "error": {"message": "No.", "type": "proxy_error", "param": None, "code": "code"}
    }
