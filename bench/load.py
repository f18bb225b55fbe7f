"""What is offered to every proxy, and the bytes that upstream and client agree on.

Owns the shape of a load (how many connections, requests, tokens, how fast), the request
that asks for it, and the stamp: the sender's monotonic time as 20 digits in the token's
own text. The text is what differs from record to record in a real stream, so a proxy
that remembers the look of a record gains and loses here what it would in production;
a fixed width lets the client read it without parsing JSON.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

STAMP_PREFIX = b'"content":"@'
STAMP_DIGITS = 20
MODEL = "Llama-3.1-8B"
CHAT_PATH = "/v1/chat/completions"
# No inference by its path: a proxy that measures inference passes it on and measures nothing.
UNMEASURED_PATH = "/bench/unmeasured"


@dataclass(frozen=True, slots=True)
class Load:
    """One load: `connections` clients, each sending `requests` requests in turn."""

    connections: int
    requests: int
    tokens: int
    """Tokens per answer; 0 asks for one small JSON answer that is not streamed."""
    interval_us: int
    """Streamed: time between two tokens. Small answers: time between two requests of
    one connection."""
    path: str = CHAT_PATH

    @property
    def streamed(self) -> bool:
        """Whether answers are SSE streams."""
        return self.tokens > 0

    @property
    def total_requests(self) -> int:
        """Requests over the whole run."""
        return self.connections * self.requests

    @property
    def total_tokens(self) -> int:
        """Tokens over the whole run."""
        return self.total_requests * self.tokens

    @property
    def ramp_s(self) -> float:
        """How long connections take to start, 1 ms apart.

        So all phases of the pace are equally busy, and no proxy is judged by how it takes
        hundreds of requests in one instant.
        """
        return self.connections / 1000

    @property
    def ideal_s(self) -> float:
        """How long the run takes if nobody is ever late."""
        steps = self.requests * max(self.tokens, 1)
        return self.ramp_s + steps * self.interval_us / 1e6


def request_bytes(load: Load) -> bytes:
    """Return the HTTP request that every connection of `load` sends."""
    prompt = "Explain in two sentences why the sky is blue. " * 4
    body = json.dumps(
        {
            "model": MODEL,
            "messages": [{"role": "user", "content": prompt}],
            "stream": load.streamed,
            "max_tokens": max(load.tokens, 1),
            "temperature": 0.7,
            "pace_interval_us": load.interval_us,
        }
    ).encode()
    return (
        b"POST " + load.path.encode() + b" HTTP/1.1\r\n"
        b"Host: 127.0.0.1\r\n"
        b"User-Agent: bench\r\n"
        b"Accept: */*\r\n"
        b"Content-Type: application/json\r\n"
        b"Content-Length: " + str(len(body)).encode() + b"\r\n\r\n" + body
    )
