"""Clients and their server, with the proxy between them, that take turns.

A token is sent when the client has the one before it, a request when the one before it is
answered: the proxy never has two things to do. So each token is one read, one write and one look of
the meter's, however slow the proxy is and whatever else the machine does, and what one run takes
can be compared with what another took.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from asyncio import StreamReader, StreamWriter
    from collections.abc import AsyncIterator
    from typing import TypeAlias

    Connection: TypeAlias = tuple[StreamReader, StreamWriter]

_MODEL = "Llama-3.1-8B"
_HEAD_END = b"\r\n\r\n"
_WORDS = (b" the", b" quick", b" brown", b" fox", b" jumps", b"\\n", b" over", b" it")


def _delta(delta: bytes) -> bytes:
    """Return a chunk in the shape of vLLM's."""
    record = (
        b'data: {"id":"chatcmpl-0123456789abcdef0123456789abcdef","object":"chat.completion.chunk",'
        b'"created":1764000000,"model":"%b","choices":[{"index":0,"delta":{%b},"logprobs":null,'
        b'"finish_reason":null,"token_ids":null}]}\n\n' % (_MODEL.encode(), delta)
    )
    return b"%x\r\n%b\r\n" % (len(record), record)


def _request(*, stream: bool) -> bytes:
    prompt = "Explain in two sentences why the sky is blue. " * 4
    messages = [{"role": "user", "content": prompt}]
    body = json.dumps({"model": _MODEL, "messages": messages, "stream": stream}).encode()
    return (
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n"
        b"content-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
    )


def _answer() -> bytes:
    message = {"role": "assistant", "content": "Blue light scatters."}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    usage = {"prompt_tokens": 48, "completion_tokens": 5, "total_tokens": 53}
    answer = {"object": "chat.completion", "model": _MODEL, "choices": [choice], "usage": usage}
    body = json.dumps(answer).encode()
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (
        len(body),
        body,
    )


_STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
    b"transfer-encoding: chunked\r\n\r\n"
) + _delta(b'"role":"assistant","content":""')
_SMALL_ANSWER = _answer()


@dataclass
class Lockstep:
    """So many clients of a proxy, and the server behind it."""

    asked: asyncio.Queue[StreamWriter]  # connections of the server with an unanswered request
    clients: list[Connection]
    streams: list[StreamWriter]

    async def begin_streams(self) -> None:
        """Have every client ask for a stream, and send its first, empty record."""
        for client in self.clients:
            self.streams.append(await self._ask(client, _request(stream=True)))
            await self._answer(self.streams[-1], client, _STREAM_HEAD)

    async def send_tokens(self, count: int) -> None:
        """Send so many tokens in each stream."""
        for n in range(count):
            chunk = _delta(b'"content":"%b"' % _WORDS[n % len(_WORDS)])
            for stream, (reader, _) in zip(self.streams, self.clients, strict=True):
                stream.write(chunk)
                assert await reader.readexactly(len(chunk)) == chunk

    async def exchange(self, count: int) -> None:
        """Have every client ask for so many small answers."""
        for _ in range(count):
            for client in self.clients:
                connection = await self._ask(client, _request(stream=False))
                await self._answer(connection, client, _SMALL_ANSWER)

    async def _ask(self, client: Connection, request: bytes) -> StreamWriter:
        client[1].write(request)
        return await self.asked.get()

    async def _answer(self, connection: StreamWriter, client: Connection, data: bytes) -> None:
        connection.write(data)
        await client[0].readuntil(_HEAD_END)  # which the proxy may write its own way
        body = data.partition(_HEAD_END)[2]
        assert await client[0].readexactly(len(body)) == body


@dataclass
class Server:
    """The server: it reads requests, and leaves it to others when they are answered."""

    port: int
    asked: asyncio.Queue[StreamWriter]

    @asynccontextmanager
    async def clients(self, port: int, count: int) -> AsyncIterator[Lockstep]:
        """Connect so many clients to the proxy at `port`."""
        connections = [await asyncio.open_connection("127.0.0.1", port) for _ in range(count)]
        try:
            yield Lockstep(self.asked, connections, [])
        finally:
            for _, writer in connections:
                writer.close()


@asynccontextmanager
async def listening() -> AsyncIterator[Server]:
    """Run a server on a free port."""
    asked: asyncio.Queue[StreamWriter] = asyncio.Queue()
    length = {len(_request(stream=stream).partition(_HEAD_END)[2]) for stream in (True, False)}

    async def read(reader: StreamReader, writer: StreamWriter) -> None:
        try:
            while head := await reader.readuntil(_HEAD_END):
                (size,) = (
                    int(line.partition(b":")[2])
                    for line in head.split(b"\r\n")
                    if line.lower().startswith(b"content-length:")
                )
                assert size in length
                await reader.readexactly(size)
                await asked.put(writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(read, "127.0.0.1", 0)
    try:
        yield Server(cast("int", server.sockets[0].getsockname()[1]), asked)
    finally:
        server.close()
