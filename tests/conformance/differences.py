"""Where the proxy differs from nginx or HAProxy for the same bytes, and why it is right to.

`answer` is the first answer of a client and whether its request was forwarded; `next` is whether
the connection goes on behind it. `up` is what the upstream saw, `down` what the client saw.
"""

from __future__ import annotations

from typing import Final, NamedTuple

# The list was made beside these; others differ from them, too.
VERSIONS: Final = {"nginx": "1.22.", "haproxy": "2.6."}
BOTH: Final = tuple(VERSIONS)
NGINX: Final = ("nginx",)
HAPROXY: Final = ("haproxy",)
ANY_CASE: Final = ("*",)


class Difference(NamedTuple):
    """Cases in which one aspect differs, for one reason."""

    kind: str  # request or response: which of the two the case is about
    oracles: tuple[str, ...]
    aspect: str
    cases: tuple[str, ...]
    reason: str


_REQUESTS: Final = (
    # -- refused here, forwarded there
    (
        HAPROXY,
        "answer",
        ("length and coding", "coding and length", "two equal lengths", "list of lengths"),
        "what says its length in two ways is refused (RFC 9112, 6.3), as nginx does",
    ),
    (
        HAPROXY,
        "answer",
        ("chunked in 1.0",),
        "HTTP/1.0 has no codings: refused (RFC 9112, 6.1), as nginx does",
    ),
    (
        BOTH,
        "answer",
        ("chunk size and a space", "chunk with bare LF", "bare LF", "control in a value"),
        "syntax outside the grammar is not passed on: parsers read it differently",
    ),
    (
        HAPROXY,
        "answer",
        ("folded header", "NUL in a value", "no host"),
        "the same; nginx refuses these, too",
    ),
    (BOTH, "answer", ("1.2",), "no such version; nginx and HAProxy pass it on as 1.1"),
    (HAPROXY, "answer", ("2.0", "9.9"), "no such version of HTTP/1; nginx says 505"),
    (NGINX, "answer", ("2.0", "9.9"), "the parser refuses them, with 400 instead of 505"),
    (NGINX, "answer", ("0.9",), "HTTP/0.9 has no heads: it is not spoken here"),
    (
        BOTH,
        "answer",
        ("1.0 and more", "closing, and more"),
        "bytes behind a request that ends its connection: the parser refuses the read as a whole",
    ),
    (BOTH, "answer", ("FOO",), "the parser knows the registered methods only"),
    (HAPROXY, "answer", ("get",), "methods are case-sensitive: refused, as nginx does"),
    (HAPROXY, "answer", ("CONNECT", "TRACE"), "the proxy opens no tunnels and echoes nothing"),
    (NGINX, "answer", ("CONNECT",), "405 says what is wrong; newer nginx does, too"),
    (HAPROXY, "answer", ("GET *", "relative target"), "neither a path nor a URL, as nginx says"),
    (NGINX, "answer", ("target above ASCII",), "no URI has such bytes: refused, as HAProxy does"),
    (BOTH, "answer", ("two user agents",), "the parser refuses a second line of what is no list"),
    (BOTH, "answer", ("unknown expectation",), "417, which RFC 9110, 10.1.1 names"),
    (NGINX, "answer", ("many headers",), "their number is bounded, as HAProxy's is"),
    # -- refused everywhere, with another status
    (HAPROXY, "answer", ("gzip, chunked",), "501 is what RFC 9112, 6.1 names, and nginx says"),
    (NGINX, "answer", ("xchunked", "identity", "chunked twice"), "refused by the parser, with 400"),
    (HAPROXY, "answer", ("long target", "many headers"), "414 and 431 say what is too large"),
    (BOTH, "answer", ("long header",), "431 says what is too large"),
    # -- forwarded here, refused there
    (NGINX, "answer", ("empty host",), "allowed by RFC 9110, 7.2, and passed by HAProxy"),
    (NGINX, "answer", ("OPTIONS *",), "RFC 9112, 3.2.4 has it, and HAProxy passes it"),
    (NGINX, "answer", ("absolute form with a user",), "its authority is dropped, whatever it is"),
    (HAPROXY, "answer", ("absolute form of another host",), "it goes to the one upstream"),
    (HAPROXY, "answer", ("fragment",), "passed as it came, as nginx does"),
    # -- the rest
    (
        BOTH,
        "next",
        ("Chunked", "chunks", "chunk extension", "chunk size with zeros", "DELETE with chunks",
         "trailers of a request"),
        "aiohttp may take a trailer for a header of what comes with it, so that is not read",
    ),
    (HAPROXY, "up line", ("absolute form", "absolute form with a user"), "origin-form, as nginx"),
    (
        HAPROXY,
        "up line",
        ("1.0", "1.0 without a host", "1.0 that stays"),
        "the upstream is spoken to in the proxy's own version (RFC 9112, 2.3), as by nginx",
    ),
    (BOTH, "up headers", ("1.0 without a host",), "HTTP/1.1 demands a Host, if an empty one"),
    (
        NGINX,
        "up framing",
        ("Chunked", "chunks", "chunk extension", "chunk size with zeros", "DELETE with chunks",
         "trailers of a request"),
        "chunks stay chunks; nginx knows the length of what is there already",
    ),
    (HAPROXY, "up framing", ("Chunked",), "framing is written anew"),
    (HAPROXY, "up trailers", ("trailers of a request",), "the parser drops them, as nginx does"),
    (NGINX, "up headers", ("tab around a value",), "white space around a value is none of it"),
    (NGINX, "up headers", ("underscore", "odd name"), "nginx drops names that CGI cannot tell"),
    (BOTH, "up headers", ("nominated", "Proxy-Connection", "Proxy-Authorization", "h2c"),
     "what concerns one connection stops here (RFC 9110, 7.6.1)"),
    (HAPROXY, "up headers", ("TE", "upgrade without Connection"), "the same, as nginx does"),
    (NGINX, "up headers", ("declined websocket",), "this nginx is not set up for upgrades"),
    (HAPROXY, "up headers", ("declined websocket",), "Upgrade is written anew, behind the others"),
    (HAPROXY, "up headers", ("expectation",), "the proxy answers it itself, as nginx does"),
    (NGINX, "informational", ("expectation",), "nobody is asked for a body that is here already"),
    (NGINX, "down date and server", ANY_CASE, "nothing is added"),
    (HAPROXY, "up case of names", ANY_CASE, "names keep their case"),
    (HAPROXY, "down case of names", ANY_CASE, "names keep their case"),
)  # fmt: skip

_RESPONSES: Final = (
    # -- not trusted here, passed on there
    (
        BOTH,
        "answer",
        ("length and coding", "two equal lengths", "bare LF", "status of two digits"),
        "a response that parsers read differently is not passed on (newer nginx: the first is 502)",
    ),
    (NGINX, "answer", ("two lengths", "gzip, chunked", "bad status line"), "the same, as HAProxy"),
    (HAPROXY, "answer", ("folded header",), "the same, as nginx"),
    (NGINX, "answer", ("unasked 101",), "nobody has asked for another protocol"),
    # -- how it ends
    (
        HAPROXY,
        "answer",
        ("until a reset", "until a reset to 1.0"),
        "a body that a reset has cut is not made to look whole",
    ),
    (NGINX, "answer", ("until a reset to 1.0", "cut chunks to 1.0"), "the same, to HTTP/1.0"),
    (HAPROXY, "next", ("cut chunks to 1.0",), "HTTP/1.0 knows no chunks: a reset tells the cut"),
    (BOTH, "answer", ("bad chunk size",), "what came before it is passed on, and then cut"),
    (HAPROXY, "answer", ("1.0",), "answers are of the proxy's own version (RFC 9110, 2.5)"),
    (HAPROXY, "next", ("until the end",), "the client's connection stays, as with nginx"),
    (BOTH, "next", ("large head", "end before the head", "end in the head"),
     "an answer of the proxy's own ends the client's connection"),
    (NGINX, "next", ("folded header",), "the same"),
    (HAPROXY, "next", ("two lengths", "gzip, chunked", "bad status line", "unasked 101"),
     "the same"),
    # -- the rest
    (NGINX, "next", ("103", "103 to 1.0", "unasked 100"), "nginx 1.22 waits for another response"),
    (BOTH, "informational", ("103 to 1.0",), "HTTP/1.0 knows none (RFC 9110, 15.2)"),
    (BOTH, "informational", ("unasked 100",), "100 is about an upload that has its own here"),
    (HAPROXY, "up line",
     ("until the end to 1.0", "chunks to 1.0", "cut chunks to 1.0", "103 to 1.0"),
     "the upstream is spoken to in the proxy's own version"),
    (HAPROXY, "down framing", ("until the end",), "the client's connection stays, as with nginx"),
    (HAPROXY, "down framing", ("chunks to 1.0", "cut chunks to 1.0"), "HTTP/1.0 knows no chunks"),
    (HAPROXY, "down framing", ("204 with a length",), "passed as it came, as by nginx"),
    (NGINX, "down framing", ("chunked that answers HEAD",), "passed as it came, as by HAProxy"),
    (NGINX, "down trailers", ("trailers",), "trailers pass; nginx 1.22 drops them"),
    (HAPROXY, "down trailers", ("trailers",), "names keep their case"),
    (BOTH, "down headers", ("hop-by-hop", "proxy authentication"),
     "what concerns one connection stops here (RFC 9110, 7.6.1)"),
    (NGINX, "down headers", ("own words",), "headers keep their order"),
    (NGINX, "down headers", ("commands to nginx",), "nginx keeps what is meant for itself"),
    (NGINX, "down date and server", ANY_CASE, "nothing is added or replaced"),
    (HAPROXY, "up case of names", ANY_CASE, "names keep their case"),
    (HAPROXY, "down case of names", ANY_CASE, "names keep their case"),
)  # fmt: skip

DIFFERENCES: Final = (
    *(Difference("request", *row) for row in _REQUESTS),
    *(Difference("response", *row) for row in _RESPONSES),
)
