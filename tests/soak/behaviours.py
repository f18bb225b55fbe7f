"""What clients and servers do in the soak, and what each of it must be counted as, exactly.

Each behaviour leaves no room for two verdicts: a client that leaves does so when it has seen, or
its server has seen, what the verdict depends on.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from tests.integration.harness import (
    DONE,
    FINISH,
    LAST_CHUNK,
    SSE_HEAD,
    chunk,
    get_request,
    post,
    sized,
    token,
)

GOOD, PARTIAL = ("good", ""), ("good_partial", "")
TRUNCATED, LEFT = ("error", "truncated"), ("cancelled", "client")
HEALTH, REFUSED = ("passthrough", "health"), ("passthrough", "refused")

ASK = b'{"model":"m","stream":true}'
JSON = b"Content-Type: application/json"
TOKENS = tuple(chunk(token()) for _ in range(5))
TAIL = (chunk(FINISH), chunk(DONE), LAST_CHUNK)
WHOLE = (SSE_HEAD, *TOKENS, *TAIL)
UNARY = b'{"choices":[{"index":0,"message":{"content":"hi"},"finish_reason":"stop"}]}'
SIZED = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 9999\r\n\r\n"
UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
ERROR = chunk(b'data: {"error":{"message":"no","code":500}}\n\n')
AMBIGUOUS = (
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n"
    b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n"
)
# Larger than all buffers on the way.
LARGE = tuple(chunk(token("x" * 200) * 100) for _ in range(160))


class Sending(StrEnum):
    """How a client sends its request."""

    AT_ONCE = "at once"
    SLOWLY = "slowly"
    TWICE = "twice, the second behind the first"
    CUT = "without its end"


class Taking(StrEnum):
    """How a client takes its answer."""

    WHOLE = "whole"
    LATE = "after a while in which it does not read"
    LEAVE_BEFORE = "not: it leaves when the server has the request"
    LEAVE_BETWEEN = "in part: it leaves when it has a token"


class Ending(StrEnum):
    """What the server does behind what it sends."""

    NOTHING = "nothing"
    CLOSE = "close"
    RESET = "reset"
    SILENCE = "silence"


@dataclass(frozen=True)
class Behaviour:
    """What both sides do, and how it is counted."""

    counted: tuple[str, str]
    answer: tuple[bytes, ...] = WHOLE
    ending: Ending = Ending.NOTHING
    sending: Sending = Sending.AT_ONCE
    taking: Taking = Taking.WHOLE
    headers: tuple[bytes, ...] = ()
    bare: bytes = b""  # a request that is no POST to the chat
    reaches_server: bool = True

    def request(self, name: bytes) -> bytes:
        """Return the request that the server knows by this name."""
        line = b"X-Id: " + name
        if self.bare:
            return self.bare.replace(b"\r\n\r\n", b"\r\n%b\r\n\r\n" % line)
        return post(ASK, JSON, line, *self.headers)


def _cut(head: bytes, *pieces: bytes) -> list[Behaviour]:
    """Return the two ways in which a server breaks an answer off."""
    return [
        Behaviour(TRUNCATED, (head, *pieces), ending) for ending in (Ending.CLOSE, Ending.RESET)
    ]


BEHAVIOURS = [
    *[Behaviour(GOOD)] * 6,
    Behaviour(PARTIAL, (SSE_HEAD, chunk(token()), *TAIL)),
    Behaviour(PARTIAL, (sized(UNARY, b"200 OK", JSON),)),
    Behaviour(("slow", "ttft"), headers=(b"X-Tier: impossible",)),
    Behaviour(("error", "http_5xx"), (sized(b"no", b"503 Busy"),)),
    Behaviour(("error", "http_429"), (sized(b"no", b"429 Slow"),)),
    Behaviour(("client_error", "http_4xx"), (sized(b"no", b"404 No"),)),
    Behaviour(("error", "stream_error"), (SSE_HEAD, TOKENS[0], ERROR, chunk(DONE), LAST_CHUNK)),
    Behaviour(("error", "empty"), (SSE_HEAD, *TAIL)),
    Behaviour(("error", "timeout"), (SSE_HEAD, TOKENS[0]), Ending.SILENCE),
    Behaviour(("error", "timeout"), (), Ending.SILENCE),
    *_cut(SSE_HEAD, TOKENS[0]),
    *_cut(SIZED, token()),
    *_cut(UNTIL_CLOSE, token()),
    *_cut(b""),
    Behaviour(GOOD, (UNTIL_CLOSE, token(), token(), FINISH + DONE), Ending.CLOSE),
    Behaviour(LEFT, (), Ending.SILENCE, taking=Taking.LEAVE_BEFORE),
    Behaviour(LEFT, (SSE_HEAD, TOKENS[0]), Ending.SILENCE, taking=Taking.LEAVE_BETWEEN),
    Behaviour(GOOD, (SSE_HEAD, *LARGE, *TAIL), taking=Taking.LATE),
    Behaviour(GOOD, sending=Sending.SLOWLY),
    Behaviour(GOOD, sending=Sending.TWICE),
    Behaviour(LEFT, (), Ending.SILENCE, sending=Sending.CUT),
    Behaviour(HEALTH, (sized(b"ok"),), bare=get_request(b"/health")),
    Behaviour(REFUSED, bare=AMBIGUOUS, reaches_server=False),
    Behaviour(REFUSED, bare=b"\x16\x03\x01 no HTTP\r\n\r\n", reaches_server=False),
]
