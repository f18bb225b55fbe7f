"""HTTP/1.1 heads: what is passed on, what stops here; pure bytes in, bytes out.

Names, values, order, case and duplicates of end-to-end headers are kept as they came
(RFC 9110, section 7.6: an intermediary forwards what it does not know). What describes one
connection only stops here, in both directions: the hop-by-hop list below, and whatever a
`Connection` header nominates, unless that would remove a header which is none of the
connection's business. Framing headers are written anew, because framing belongs to a
connection.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, TypeAlias

import msgspec

from .forwarded import Origin, add_origin

if TYPE_CHECKING:
    from collections.abc import Iterable

_CODING: Final = b"transfer-encoding"
_AUTHORITY: Final = re.compile(r"[^/?]*")

Headers: TypeAlias = Sequence[tuple[bytes, bytes]]

# Go's httputil.ReverseProxy strips the same; `trailer` stays, since trailers are passed on.
_HOP_BY_HOP: Final = frozenset(
    (
        b"connection",
        b"http2-settings",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"transfer-encoding",
        b"upgrade",
    )
)
_STOPS_HERE: Final = _HOP_BY_HOP | {b"expect"}
_EXPECTATIONS: Final = frozenset((b"", b"100-continue"))
# `Connection: authorization` must not be a way to strip what others rely on.
_NOT_NOMINATED: Final = frozenset(
    (b"authorization", b"content-encoding", b"content-length", b"content-type", b"cookie", b"host")
)


# The arguments of refusals.
MALFORMED: Final = (400, b"Bad Request", "The request is malformed.")
TARGET_TOO_LONG: Final = (414, b"URI Too Long", "The target of the request is too long.")
HEAD_TOO_LARGE: Final = (
    *(431, b"Request Header Fields Too Large"),
    "The head of the request is too large.",
)


class Refusal(Exception):  # noqa: N818 -- an answer, not an accident
    """A request that is answered here and not forwarded; its body repeats nothing of it."""

    def __init__(self, status: int, reason: bytes, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.body = error_body(message, "refused")

    def answer(self, *, to_head: bool = False) -> bytes:
        """Return the whole answer."""
        return own_answer(self.status, self.reason, self.body, to_head=to_head)


def check_size(target: str, headers: Headers, max_bytes: int) -> None:
    """Refuse a head whose target, names and values are longer than is forwarded, taken together.

    Raises:
        Refusal: with 431.
    """
    if sum([len(name) + len(value) for name, value in headers], len(target)) > max_bytes:
        raise Refusal(*HEAD_TOO_LARGE)


def check_request(
    method: str, target: str, version: tuple[int, int], headers: Headers, *, chunked: bool
) -> str:
    """Return the target in origin-form.

    The parser has refused malformed syntax before; this refuses what is well-formed and
    still must not be forwarded.

    Raises:
        Refusal: with the status that RFC 9110 and 9112 name.
    """
    if version not in {(1, 0), (1, 1)}:
        raise Refusal(505, b"HTTP Version Not Supported", "Only HTTP/1.0 and 1.1 are spoken here.")
    if method in {"CONNECT", "TRACE"}:
        raise Refusal(405, b"Method Not Allowed", "This method is not forwarded.")
    names = [name.lower() for name, _ in headers]
    codings = _values(headers, names, _CODING)
    if codings and version == (1, 0):
        raise Refusal(400, b"Bad Request", "HTTP/1.0 has no transfer codings.")
    if codings and not (chunked and [c.strip().lower() for c in codings] == [b"chunked"]):
        raise Refusal(501, b"Not Implemented", "The only transfer coding known is chunked.")
    if version == (1, 1) and b"host" not in names:
        raise Refusal(400, b"Bad Request", "The Host header is missing.")
    if any(v.lower() not in _EXPECTATIONS for v in _values(headers, names, b"expect")):
        raise Refusal(417, b"Expectation Failed", "The only expectation known is 100-continue.")
    return _origin_form(method, target)


def _origin_form(method: str, target: str) -> str:
    if target.startswith("/") or (target == "*" and method == "OPTIONS"):
        return target
    scheme, _, rest = target.partition("://")
    if scheme.lower() not in {"http", "https"} or not rest:
        raise Refusal(400, b"Bad Request", "The request target is neither a path nor a URL.")
    authority = _AUTHORITY.match(rest)
    path = rest[authority.end() if authority else 0 :]
    if not path and method == "OPTIONS":
        return "*"  # RFC 9112, 3.2.4: a URL without a path is the whole server
    return path if path.startswith("/") else "/" + path


def request_head(
    method: str,
    target: str,
    headers: Headers,
    *,
    chunked: bool,
    upgrade: bytes = b"",
    origin: Origin | None = None,
) -> bytes:
    """Return the head to send upstream.

    `upgrade` is the protocol that is asked for, if any; `origin` is what to tell of the client.
    """
    lines = [b"%b %b HTTP/1.1" % (method.encode(), target.encode("utf-8", "surrogateescape"))]
    names = [name.lower() for name, _ in headers]
    if b"host" not in names:
        lines.append(b"Host:")  # of an HTTP/1.0 client: RFC 9112, 3.2 demands one, if empty
    # `Expect` is answered by whoever holds the client's connection: here.
    passed = _pass_on(headers, names, _STOPS_HERE)
    if origin is not None:
        passed = add_origin(passed, origin)
    lines += [b"%b: %b" % header for header in passed]
    if chunked:
        lines.append(b"Transfer-Encoding: chunked")
    if upgrade:
        lines += [b"Connection: Upgrade", b"Upgrade: " + upgrade]
    lines.append(b"\r\n")
    return b"\r\n".join(lines)


def switch_head(reason: bytes, headers: Headers) -> bytes:
    """Return a 101 head to send to the client: what describes the connection is part of it."""
    lines = [b"HTTP/1.1 101 " + reason, *(b"%b: %b" % header for header in headers), b"\r\n"]
    return b"\r\n".join(lines)


def response_head(status: int, reason: bytes, headers: Headers, own: Iterable[bytes] = ()) -> bytes:
    """Return the head to send to the client, with `own` header lines added at its end."""
    lines = [b"HTTP/1.1 %d %b" % (status, reason)]
    passed = _pass_on(headers, [name.lower() for name, _ in headers], _HOP_BY_HOP)
    lines += [b"%b: %b" % header for header in passed]
    lines.extend(own)
    lines.append(b"\r\n")
    return b"\r\n".join(lines)


def own_answer(
    status: int, reason: bytes, body: bytes, *more: bytes, to_head: bool = False
) -> bytes:
    """Return a whole JSON response of the proxy's own, after which the connection closes."""
    own = (
        *more,
        b"Content-Type: application/json",
        b"Content-Length: %d" % len(body),
        b"Connection: close",
    )
    head = response_head(status, reason, (), own)
    return head if to_head else head + body


def error_body(message: str, code: str) -> bytes:
    """Return an error in the shape that OpenAI's clients expect."""
    error = {"message": message, "type": "proxy_error", "param": None, "code": code}
    return msgspec.json.encode({"error": error})


def find_header(headers: Headers, name: bytes) -> bytes:
    """Return the first value of a header by its lower-case name, empty when it is absent."""
    for key, value in headers:
        if key.lower() == name:
            return value
    return b""


def join_header(headers: Headers, name: bytes) -> bytes:
    """Return the values of a header by its lower-case name as one list, empty when it is absent."""
    return b", ".join([value for key, value in headers if key.lower() == name])


def _values(headers: Headers, names: list[bytes], name: bytes) -> list[bytes]:
    """Return all values of a header, given the lower-case names of all headers."""
    if name not in names:  # as in most heads
        return []
    return [headers[i][1] for i, lower in enumerate(names) if lower == name]


def _pass_on(
    headers: Headers, names: list[bytes], stops: frozenset[bytes]
) -> list[tuple[bytes, bytes]]:
    """Return the headers that concern both connections, given the lower-case names of all."""
    for value in _values(headers, names, b"connection"):
        tokens = {token.strip().lower() for token in value.split(b",")}
        stops |= tokens - _NOT_NOMINATED
    return [header for lower, header in zip(names, headers, strict=True) if lower not in stops]
