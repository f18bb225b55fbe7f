"""Both ends of a proxy as raw sockets: no HTTP library smooths over what is tested.

A `Peer` is one end of one connection. It records every byte that arrives and how the connection
ended, and sends what the test tells it to: a test drives client and upstream step by step, and
waits for what it expects, never for time. `FakeUpstream` accepts connections as peers, `connect`
opens one, and `parse_answer` reads a response by rules of its own, so that it can disagree with
the parsers of the proxy.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import socket
import struct
from dataclasses import dataclass
from enum import StrEnum
from time import monotonic_ns
from typing import TYPE_CHECKING, TypeVar, cast

from tests.waiting import PATIENCE_S

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterable

T = TypeVar("T")

HEAD_END = b"\r\n\r\n"
DONE = b"data: [DONE]\n\n"


class Ending(StrEnum):
    """How the other end closed."""

    FIN = "fin"
    RST = "rst"


@dataclass(frozen=True)
class Answer:
    """A response as a client sees it."""

    status: int
    reason: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes
    trailers: list[tuple[bytes, bytes]]
    complete: bool  # the message ended as its framing says; False: the connection broke it off
    size: int  # bytes of the answer on the wire

    def header(self, name: bytes) -> bytes | None:
        """Return the only value of a header, None when it is absent."""
        values = [value for key, value in self.headers if key.lower() == name.lower()]
        assert len(values) < 2, values
        return values[0] if values else None


def parse_answer(data: bytes, *, ended: Ending | None, to_head: bool = False) -> Answer | None:
    """Read one final response at the start of `data`, None while it has not ended.

    Args:
        data: what a client has received; informational responses stand in front, if any.
        ended: how the connection ended, None while it is open.
        to_head: the request's method was HEAD.
    """
    head, found, rest = data.partition(HEAD_END)
    if not found:
        return None
    start, *lines = head.split(b"\r\n")
    status_line = re.fullmatch(rb"HTTP/1\.1 (\d{3}) (.*)", start, re.DOTALL)
    assert status_line, start
    status = int(status_line[1])
    headers = split_headers(lines)
    known = {name.lower(): value for name, value in headers}
    if 100 <= status < 200:
        final = parse_answer(rest, ended=ended, to_head=to_head)
        return final and _grown(final, len(head) + len(found))
    chunked = known.get(b"transfer-encoding") == b"chunked"
    assert not (chunked and b"content-length" in known), head
    trailers: list[tuple[bytes, bytes]] = []
    if to_head or status in {204, 304}:
        body, used, complete = b"", 0, True
    elif chunked:
        body, trailers, used, complete = _parse_chunks(rest)
    elif b"content-length" in known:
        used = int(known[b"content-length"])
        body, complete = rest[:used], len(rest) >= used
    else:
        body, used, complete = rest, len(rest), ended is Ending.FIN
    if not complete and ended is None:
        return None
    size = len(head) + len(found) + used
    return Answer(status, status_line[2], headers, body, trailers, complete, size)


def parse_request(data: bytes) -> tuple[bytes, bytes] | None:
    """Return head and raw body of the request at the start of `data`, None while it is cut."""
    head, found, rest = data.partition(HEAD_END)
    if not found:
        return None
    _, *lines = head.split(b"\r\n")
    known = {name.lower(): value for name, value in split_headers(lines)}
    assert not (b"transfer-encoding" in known and b"content-length" in known), head
    complete, used = True, 0
    if b"transfer-encoding" in known:
        _, _, used, complete = _parse_chunks(rest)
    elif b"content-length" in known:
        used = int(known[b"content-length"])
        complete = len(rest) >= used
    return (head + found, rest[:used]) if complete else None


def split_headers(lines: Iterable[bytes]) -> list[tuple[bytes, bytes]]:
    """Return names and values of header lines."""
    pairs = [line.partition(b":") for line in lines]
    return [(name, value.removeprefix(b" ")) for name, _, value in pairs]


def parse_chunks(data: bytes) -> bytes | None:
    """Return the body that a whole chunked message without trailers holds, None if it is cut."""
    body, trailers = parse_trailed_chunks(data)
    assert not trailers
    return body


def parse_trailed_chunks(data: bytes) -> tuple[bytes | None, list[tuple[bytes, bytes]]]:
    """Return body and trailers of a chunked message, None for the body if it is cut."""
    body, trailers, used, complete = _parse_chunks(data)
    return body if complete and used == len(data) else None, trailers


def _grown(answer: Answer, size: int) -> Answer:
    return Answer(**{**answer.__dict__, "size": answer.size + size})


def _parse_chunks(data: bytes) -> tuple[bytes, list[tuple[bytes, bytes]], int, bool]:
    body = b""
    at = 0
    while (eol := data.find(b"\r\n", at)) >= 0:
        size = int(data[at:eol], 16)
        at = eol + 2
        if size == 0:
            end = data.find(HEAD_END, at - 2)
            if end < 0:
                break
            return (
                body,
                split_headers(data[at:end].split(b"\r\n") if end > at else ()),
                end + 4,
                True,
            )
        body += data[at : at + size]
        if len(data) < at + size + 2:
            break
        assert data[at + size : at + size + 2] == b"\r\n"
        at += size + 2
    return body, [], len(data), False


class Peer(asyncio.Protocol):
    """One end of a connection, in the hands of a test."""

    def __init__(self) -> None:
        self.received = bytearray()
        self.keep = True  # False: what arrives is only counted and hashed
        self.size = 0
        self.digest = hashlib.sha256()
        self.ending: Ending | None = None
        self.ended_ns = 0
        self.wrote = 0
        self._transport: asyncio.Transport | None = None
        self._writing_paused = False
        self._change = asyncio.Event()

    # -- sending

    def send(self, *pieces: bytes) -> None:
        """Send bytes; what one call sends leaves at once."""
        data = b"".join(pieces)
        self.wrote += len(data)
        self.transport.write(data)

    async def pour(self, pieces: Iterable[bytes]) -> None:
        """Send all of it, at the pace at which the other end takes it."""
        for piece in pieces:
            while self._writing_paused:
                async with asyncio.timeout(PATIENCE_S):
                    await self._change.wait()
            if self.ending is not None:
                return
            self.send(piece)
            await asyncio.sleep(0)

    async def flush(self) -> None:
        """Wait until the kernel has everything that was sent."""
        async with asyncio.timeout(PATIENCE_S):
            while self.transport.get_write_buffer_size():  # noqa: ASYNC110 -- there is no event
                await asyncio.sleep(0)

    def finish(self) -> None:
        """Close the sending direction; the other end may go on."""
        self.transport.write_eof()

    def close(self) -> None:
        """Close in the ordinary way, after what was sent."""
        if self._transport is not None:
            self._transport.close()

    def reset(self) -> None:
        """Break the connection off with RST; unsent bytes are lost."""
        # uvloop's stand-in for a socket has the calls that matter here.
        sock = cast("socket.socket", self.transport.get_extra_info("socket"))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    # -- receiving

    def pause(self) -> None:
        """Stop reading."""
        self.transport.pause_reading()

    def resume(self) -> None:
        """Go on reading."""
        self.transport.resume_reading()

    def take(self) -> bytes:
        """Return what has arrived and forget it."""
        data = bytes(self.received)
        self.received.clear()
        return data

    async def until(self, pattern: bytes) -> re.Match[bytes]:
        """Wait until a regular expression matches somewhere in what has arrived."""
        compiled = re.compile(pattern, re.DOTALL)
        return await self._wait(f"{pattern!r}", lambda: compiled.search(bytes(self.received)))

    async def until_head(self) -> bytes:
        """Wait for the end of a head; return it without taking it."""
        return (await self.until(rb"^.*?\r\n\r\n"))[0]

    async def until_size(self, size: int) -> None:
        """Wait until this many bytes have arrived in all."""
        await self._wait(f"{size} bytes", lambda: self.size >= size or None)

    async def request(self) -> tuple[bytes, bytes]:
        """Wait for a whole request and take it; return its head and its body as it was framed."""
        head, body = await self._wait("a request", lambda: parse_request(bytes(self.received)))
        del self.received[: len(head) + len(body)]
        return head, body

    async def answer(self, *, to_head: bool = False) -> Answer:
        """Wait for a response, take it, and leave what follows it."""
        answer = await self._wait(
            "an answer",
            lambda: parse_answer(bytes(self.received), ended=self.ending, to_head=to_head),
        )
        del self.received[: answer.size]
        return answer

    async def changed(self) -> None:
        """Wait until something arrives or the other end closes, for as long as it takes."""
        await self._change.wait()

    async def ended(self) -> Ending:
        """Wait until the other end has closed."""
        return await self._wait("the end", lambda: self.ending)

    # -- asyncio's side

    @property
    def transport(self) -> asyncio.Transport:
        """The connection's transport."""
        assert self._transport is not None, "the connection is closed"
        return self._transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self.size += len(data)
        if self.keep:
            self.received += data
        else:
            self.digest.update(data)
        self._notify()

    def eof_received(self) -> bool:
        self._end(Ending.FIN)
        return self.transport.can_write_eof()  # this end closes when the test says so; TLS cannot

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._end(Ending.FIN if exc is None else Ending.RST)

    def pause_writing(self) -> None:
        self._writing_paused = True

    def resume_writing(self) -> None:
        self._writing_paused = False
        self._notify()

    def _end(self, ending: Ending) -> None:
        if self.ending is None:
            self.ending = ending
            self.ended_ns = monotonic_ns()
        self._writing_paused = False
        self._notify()

    def _notify(self) -> None:
        change, self._change = self._change, asyncio.Event()
        change.set()

    async def _wait(self, what: str, look: Callable[[], T | None]) -> T:
        try:
            async with asyncio.timeout(PATIENCE_S):
                while (found := look()) is None:
                    ended, change = self.ending, self._change
                    assert ended is None, f"no {what} before {ended}: {self._shown()}"
                    await change.wait()
        except TimeoutError:
            raise AssertionError(f"no {what} within {PATIENCE_S} s: {self._shown()}") from None
        return found

    def _shown(self) -> str:
        return f"{self.size} bytes, the last: {bytes(self.received[-400:])!r}"


class FakeUpstream:
    """A server that does nothing of itself: tests accept its connections and drive them."""

    def __init__(self) -> None:
        self.peers: list[Peer] = []  # every connection that ever was
        self._new: asyncio.Queue[Peer] = asyncio.Queue()
        self._server: asyncio.Server | None = None
        self.port = 0

    async def start(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        path: str = "",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Listen on a port of the loopback interface, or on a UNIX socket."""
        loop = asyncio.get_running_loop()
        if path:
            self._server = await loop.create_unix_server(self._make, path)
        else:
            self._server = await loop.create_server(self._make, host, port, ssl=tls)
            self.port = self._server.sockets[0].getsockname()[1]

    @property
    def url(self) -> str:
        """Where the server listens."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def size(self) -> int:
        """Bytes received on all connections."""
        return sum(peer.size for peer in self.peers)

    async def accept(self) -> Peer:
        """Wait for the next connection that no one has accepted."""
        async with asyncio.timeout(PATIENCE_S):
            return await self.next()

    async def next(self) -> Peer:
        """Wait for as long as it takes."""
        return await self._new.get()

    async def stop(self) -> None:
        """Stop listening and break off every connection."""
        if self._server is not None:
            self._server.close()
        for peer in self.peers:
            peer.close()

    def _make(self) -> Peer:
        return _Accepted(self._add)

    def _add(self, peer: Peer) -> None:
        self.peers.append(peer)
        self._new.put_nowait(peer)


class _Accepted(Peer):
    def __init__(self, ready: Callable[[Peer], None]) -> None:
        super().__init__()
        self._ready = ready

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._ready(self)


async def connect(
    port: int, *, receive_buffer: int | None = None, tls: ssl.SSLContext | None = None
) -> Peer:
    """Open a connection to a port of the loopback interface, with TLS to `localhost` there."""
    loop = asyncio.get_running_loop()
    sock = socket.socket()
    sock.setblocking(False)  # noqa: FBT003 -- the socket's own interface
    if receive_buffer is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    try:
        await loop.sock_connect(sock, ("127.0.0.1", port))
    except OSError:
        sock.close()
        raise
    name = None if tls is None else "localhost"
    _, peer = await loop.create_connection(Peer, sock=sock, ssl=tls, server_hostname=name)
    return peer
