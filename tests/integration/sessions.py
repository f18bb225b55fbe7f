"""Traffic of every kind that the meter looks at, with the bytes that must come out of it.

Each session is one inference request, or one connection that is measured as one, and sends its
request on a connection that must be of use afterwards, where it is kept. `play` raises when a byte
is not what it should be.
"""

from __future__ import annotations

import gzip
import json
import sys
import zlib
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING

import brotli

from tests.frames import Deflater, frame
from tests.integration.harness import (
    DONE,
    FINISH,
    LAST_CHUNK,
    SSE_HEAD,
    chunk,
    post,
    sized,
    token,
)
from tests.streams import CASES, load_case

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

if TYPE_CHECKING:
    from tests.integration.fake_upstream import Peer
    from tests.integration.harness import RunningProxy

JSON = b"Content-Type: application/json"
ASK = b'{"model":"m","stream":true}'


class Who(Enum):
    """Who breaks off."""

    CLIENT = auto()
    SERVER = auto()


@dataclass(frozen=True)
class Session:
    """One request and what its server answers, piece by piece."""

    request: bytes
    pieces: tuple[bytes, ...]  # as the server sends them, its head first
    end: Who | None = None  # who breaks off when all that has passed
    requests: int = 2  # that it consists of

    async def play(self, proxy: RunningProxy) -> None:
        """Play it and check the bytes; the connection is used once more if it is still there."""
        client, server = await proxy.begin(self.request)
        assert b"".join(await server.request()).endswith(self.request.partition(b"\r\n\r\n")[2])
        for piece in self.pieces:
            server.send(piece)
            await client.until_size(server.wrote)  # each piece is a read of its own
        assert bytes(client.received) == b"".join(self.pieces)
        if self.end is not None:
            ends = (client, server) if self.end is Who.CLIENT else (server, client)
            ends[0].close()
            await ends[1].ended()
            return
        await client.answer()
        client.send(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        await server.request()
        server.send(sized(b"well"))
        assert (await client.answer()).body == b"well"
        client.close()
        server.close()  # so that nobody uses the connection again
        await server.ended()


@dataclass(frozen=True)
class RealtimeSession(Session):
    """A tunnel through which one utterance goes."""

    async def play(self, proxy: RunningProxy) -> None:
        """Play it and check the bytes."""
        client, server = await proxy.begin(self.request)
        await server.request()
        await self._pass(server, client, self.pieces[0])
        for piece in self.pieces[1:]:
            # A client's frames are masked, and that is the second bit of the second byte.
            ends = (client, server) if piece[1] & 0x80 else (server, client)
            await self._pass(*ends, piece)
        client.finish()
        await server.ended()
        server.finish()
        await client.ended()

    @staticmethod
    async def _pass(sender: Peer, receiver: Peer, piece: bytes) -> None:
        sender.send(piece)
        await receiver.until_size(receiver.size + len(piece) - len(receiver.received))
        assert receiver.take() == piece


def streamed(*records: bytes, path: bytes = b"/v1/chat/completions", body: bytes = ASK) -> Session:
    """Return a session whose answer is a stream of these records."""
    return Session(post(body, JSON, path=path), (SSE_HEAD, *map(chunk, records), LAST_CHUNK))


def lines(*records: bytes, path: bytes) -> Session:
    """Return a session whose answer is JSON lines."""
    head = SSE_HEAD.replace(b"text/event-stream", b"application/x-ndjson")
    return Session(post(ASK, JSON, path=path), (head, *map(chunk, records), LAST_CHUNK))


def unary(body: bytes, path: bytes = b"/v1/chat/completions") -> Session:
    """Return a session whose answer comes in one piece."""
    return Session(post(b'{"model":"m"}', JSON, path=path), (sized(body, b"200 OK", JSON),))


def compressed(coding: bytes, body: bytes) -> Session:
    """Return a session whose answer has a content coding."""
    head = SSE_HEAD.replace(b"Transfer-", b"Content-Encoding: %b\r\nTransfer-" % coding)
    pieces = [chunk(body[:40]), chunk(body[40:])]
    return Session(post(ASK, JSON), (head, *pieces, LAST_CHUNK))


def from_corpus(name: str) -> Session:
    """Return a session with a stream of the corpus, record by record."""
    case = load_case(name)
    head = b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nTransfer-Encoding: chunked\r\n\r\n"
    lines = [line + b"\n" for line in case.body.split(b"\n")]
    pieces = [chunk(b"".join(lines[i : i + 3])) for i in range(0, len(lines), 3)]
    request = post(case.request, JSON, path=case.path.encode())
    return Session(request, (head % case.media_type.encode(), *pieces, LAST_CHUNK))


def realtime(*, deflated: bool) -> Session:
    """Return a realtime session."""
    wish = b"Sec-WebSocket-Extensions: permessage-deflate\r\n" if deflated else b""
    request = (
        b"GET /v1/realtime?model=m HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n"
        b"Upgrade: websocket\r\n" + wish + b"\r\n"
    )
    switch = b"HTTP/1.1 101 Go\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" + wish + b"\r\n"
    client, server = Deflater(), Deflater()

    def say(deflater: Deflater, mask: bytes, **message: object) -> bytes:
        text = json.dumps(message).encode()
        text = deflater.compress(text) if deflated else text
        return frame(text, mask=mask, compressed=deflated)

    return RealtimeSession(
        request,
        (
            switch,
            say(client, b"mask", type="input_audio_buffer.commit"),
            say(server, b"", type="transcription.delta", delta="a"),
            say(server, b"", type="transcription.delta", delta="b"),
            say(server, b"", type="transcription.done", text="ab", usage={"completion_tokens": 2}),
        ),
        requests=1,
    )


TRANSCRIPTIONS = b"/v1/audio/transcriptions"
STREAM = token("a") + token("b") + FINISH + DONE
UNARY = b'{"choices":[{"index":0,"message":{"content":"ab"},"finish_reason":"stop"}]}'
FORM = (
    b'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\nm\r\n'
    b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n' + b"a" * 80_000
) + b"\r\n--x--\r\n"
LONG = b"a" * 30_000  # too much for a record that is looked into
COUNTED = (
    b'data: {"created":%d,"choices":[{"index":0,"delta":{"content":"\xc3\xa9%d"}}],'
    b'"usage":{"completion_tokens":%d}}\n\n'
)

SESSIONS: dict[str, Session] = {
    "chat": streamed(*(token(str(i % 10)) for i in range(150)), FINISH, DONE),
    "counted": streamed(*(COUNTED % (i * 99, i, i) for i in range(10, 40)), FINISH, DONE),
    "unary": unary(UNARY),
    "gzip": compressed(b"gzip", gzip.compress(STREAM)),
    "deflate": compressed(b"deflate", zlib.compress(STREAM)),
    "br": compressed(b"br", brotli.compress(STREAM)),
    "zstd": compressed(b"zstd", zstd.compress(STREAM)),
    "not gzip": compressed(b"gzip", b"no" * 100),
    "unknown coding": compressed(b"rot13", STREAM),
    "large prompt": streamed(
        token(), FINISH, DONE, body=b'{"model":"m","prompt":"%b","stream":true}' % (b"a" * 90_000)
    ),
    "form": Session(
        post(FORM, b"Content-Type: multipart/form-data; boundary=x", path=TRANSCRIPTIONS),
        (sized(b'{"text":"ab"}', b"200 OK", JSON),),
    ),
    "gold": Session(
        post(ASK, JSON, b"X-Tier: gold", b"traceparent: 00-%b-%b-01" % (b"1" * 32, b"2" * 16)),
        (SSE_HEAD, chunk(STREAM), LAST_CHUNK),
    ),
    "strict": Session(post(ASK, JSON, b"X-Tier: strict"), (SSE_HEAD, chunk(STREAM), LAST_CHUNK)),
    "own limits": Session(
        post(ASK, JSON, b"X-Slo-Ttft-Ms: 60000", b"X-Slo-Tpot-Ms: no", b"X-Slo-Class: gold"),
        (SSE_HEAD, chunk(STREAM), LAST_CHUNK),
    ),
    "busy": Session(post(ASK, JSON), (sized(b"no", b"503 Busy"),)),
    "leaves": Session(post(ASK, JSON), (SSE_HEAD, chunk(token())), end=Who.CLIENT, requests=1),
    "cut": Session(post(ASK, JSON), (SSE_HEAD, chunk(token())), end=Who.SERVER, requests=1),
    "vectors": unary(b'{"data":[]}', path=b"/v1/embeddings"),
    "broken record": streamed(token(), b'data: {"choices":[{\n\n', FINISH, DONE),
    "realtime": realtime(deflated=False),
    "realtime, deflated": realtime(deflated=True),
    **{name: from_corpus(name) for name in CASES},
    # Answers in one piece, and records that are too large, of every make.
    "unary, several": unary(
        b'[{"text":"a","meta_info":{"completion_tokens":1}},{"text":"b"}]', path=b"/generate"
    ),
    "unary tensors": unary(b'{"text_output":"a"}', path=b"/v2/models/m/generate"),
    "unary, Ollama's": unary(b'{"message":{"content":"a"},"done":true}', path=b"/api/chat"),
    "unary, TGI's": unary(b'{"generated_text":"a"}', path=b"/generate_stream"),
    "unary, typed": unary(b'{"output":[],"status":"completed"}', path=b"/v1/responses"),
    "texts": streamed(b'data: {"text":["ab"]}\n\n', path=b"/generate"),
    "no family": streamed(
        b'data: {"foo":1}\n\n', b'data: {"foo":"%b"}\n\n' % LONG, path=b"/generate"
    ),
    "large": streamed(token("a" * 20_000), token("b" * 40_000), FINISH, DONE),
    "large, SGLang's": streamed(
        b'data: {"text":"a","meta_info":{"completion_tokens":1}}\n\n',
        b'data: {"text":"%b","meta_info":{"completion_tokens":2}}\n\n' % LONG,
        path=b"/generate",
    ),
    "large, Gemini's": streamed(
        b'data: {"candidates":[{"content":{"parts":[{"text":"%b"}]}}]}\n\n' % LONG,
        path=b"/v1beta/models/m:streamGenerateContent",
    ),
    "large, llama.cpp's": streamed(
        b'data: {"index":0,"tokens_predicted":1,"content":"%b","stop":false}\n\n' % LONG,
        b'data: {"index":0,"tokens_predicted":1,"tokens_evaluated":2,"stop":true,'
        b'"content":"%b"}\n\n' % LONG,
        path=b"/completion",
    ),
    "large, Ollama's": lines(
        b'{"message":{"content":"%b"},"done":false}\n' % LONG, path=b"/api/chat"
    ),
    "large, TGI's": streamed(
        b'data: {"token":{"id":1,"text":"%b"}}\n\n' % LONG, path=b"/generate_stream"
    ),
    "large, Triton's": streamed(
        b'data: {"text_output":"%b"}\n\n' % LONG, path=b"/v2/models/m/generate_stream"
    ),
    "large, typed": streamed(
        b'event: response.output_text.delta\ndata: {"delta":"%b"}\n\n' % LONG,
        b'data: {"type":"response.completed","response":{"status":"completed","output":["%b"],'
        b'"usage":{"input_tokens":1,"output_tokens":2}}}\n\n' % LONG,
        path=b"/v1/responses",
    ),
    "large, plain": streamed(b"data: hello\n\n", b"data: %b\n\n" % LONG, path=TRANSCRIPTIONS),
}
