"""A stand-in for an inference server, as cheap as Python allows.

Answers a POST with an SSE stream, one HTTP chunk per token in the shape of vLLM's chat
deltas, or with one small JSON object. Pacing is absolute: token k is due at
start + (k + 1) * interval, so a late timer does not stretch the stream. The stamp in a
record is read from the monotonic clock right before the write.

Run as `python -m bench.upstream`: prints its port, ends when its standard input does.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
from time import monotonic_ns
from typing import cast

import uvloop

from bench.load import MODEL, STAMP_DIGITS, STAMP_PREFIX

_BEFORE = (
    b'data: {"id":"chatcmpl-0123456789abcdef0123456789abcdef",'
    b'"object":"chat.completion.chunk","created":1764000000,'
    b'"model":"' + MODEL.encode() + b'",'
    b'"choices":[{"index":0,"delta":{'
)
_AFTER = b'"logprobs":null,"finish_reason":null,"token_ids":null}]}\n\n'
_LAST = b'"logprobs":null,"finish_reason":"length","token_ids":null}]}\n\n'


def _chunk(record: bytes) -> bytes:
    return b"%x\r\n" % len(record) + record + b"\r\n"


TOKEN_BEFORE, TOKEN_AFTER = _chunk(
    _BEFORE + STAMP_PREFIX + b"?" * STAMP_DIGITS + b'"},' + _AFTER
).split(b"?" * STAMP_DIGITS)
TOKEN_CHUNK_BYTES = len(TOKEN_BEFORE) + STAMP_DIGITS + len(TOKEN_AFTER)

STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\n"
    b"date: Mon, 24 Nov 2025 12:00:00 GMT\r\n"
    b"server: uvicorn\r\n"
    b"content-type: text/event-stream; charset=utf-8\r\n"
    b"transfer-encoding: chunked\r\n\r\n"
) + _chunk(_BEFORE + b'"role":"assistant","content":""},' + _AFTER)
STREAM_TAIL = (
    _chunk(_BEFORE + b'"content":""},' + _LAST) + _chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"
)

_SMALL_BODY = json.dumps(
    {
        "id": "chatcmpl-0123456789abcdef0123456789abcdef",
        "object": "chat.completion",
        "created": 1764000000,
        "model": MODEL,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Blue light scatters."},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 48, "completion_tokens": 5, "total_tokens": 53},
    }
).encode()
SMALL_ANSWER = (
    b"HTTP/1.1 200 OK\r\n"
    b"date: Mon, 24 Nov 2025 12:00:00 GMT\r\n"
    b"server: uvicorn\r\n"
    b"content-length: " + str(len(_SMALL_BODY)).encode() + b"\r\n"
    b"content-type: application/json\r\n\r\n"
) + _SMALL_BODY


class UpstreamProtocol(asyncio.Protocol):
    """One connection: a request at a time, keep-alive between them."""

    __slots__ = ("_buffer", "_due_s", "_left", "_loop", "_step_s", "_timer", "_write")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._buffer = b""
        self._timer: asyncio.TimerHandle | None = None
        self._left = 0
        self._due_s = 0.0
        self._step_s = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the one method that is needed per token."""
        self._write = cast("asyncio.Transport", transport).write

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 -- asyncio's
        """Stop generating for nobody."""
        if self._timer is not None:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        """Answer a request once it is complete."""
        self._buffer += data
        body = complete_body(self._buffer)
        if body is None:
            return
        self._buffer = b""
        if body:
            self._answer(json.loads(body))
        else:
            self._write(SMALL_ANSWER)

    def _answer(self, request: dict[str, object]) -> None:
        if not request.get("stream"):
            self._write(SMALL_ANSWER)
            return
        self._left = int(str(request["max_tokens"]))
        self._step_s = int(str(request["pace_interval_us"])) / 1e6
        self._due_s = self._loop.time() + self._step_s
        self._write(STREAM_HEAD)
        self._timer = self._loop.call_at(self._due_s, self._send_token)

    def _send_token(self) -> None:
        self._write(b"%b%020d%b" % (TOKEN_BEFORE, monotonic_ns(), TOKEN_AFTER))
        self._left -= 1
        if self._left:
            self._due_s += self._step_s
            self._timer = self._loop.call_at(self._due_s, self._send_token)
        else:
            self._timer = None
            self._write(STREAM_TAIL)


def complete_body(message: bytes) -> bytes | None:
    """Return the body of a request that has arrived whole, else None."""
    head, end, body = message.partition(b"\r\n\r\n")
    if not end:
        return None
    fields = head.lower()
    at = fields.find(b"\r\ncontent-length:")
    if at >= 0:
        length = int(fields[at + 17 :].split(b"\r\n", 1)[0])
        return body if len(body) >= length else None
    if b"\r\ntransfer-encoding:" not in fields:
        return b""
    if not body.endswith(b"0\r\n\r\n"):
        return None
    parts = []
    while not body.startswith(b"0\r\n"):
        size, _, body = body.partition(b"\r\n")
        parts.append(body[: int(size, 16)])
        body = body[int(size, 16) + 2 :]
    return b"".join(parts)


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: UpstreamProtocol(loop), "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    parent_gone = loop.create_future()
    loop.add_reader(sys.stdin.fileno(), parent_gone.set_result, None)
    gc.freeze()
    gc.disable()  # nothing here makes cycles; a collection would show as latency
    await parent_gone


if __name__ == "__main__":
    uvloop.run(_serve())
