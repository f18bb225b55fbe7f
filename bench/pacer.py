"""Upstream and client in one process, for loads that two event loops could not offer.

The loop of `upstream.py` and `client.py` needs some 40 us for a token, which is more than most
proxies do. Here it is little more than the two system calls: one schedule for all streams, and of
a thousand clients only some are timed, read as soon as something is there. The others take what
has come ten times a second. The proxy notices nothing of it: its writes go to the kernel.

Run as `python -m bench.pacer`: prints its port, then takes one load at a time as JSON from standard
input. It answers `open` when each stream has its first token, and waits for a line; `paced` when
each client has all tokens, and waits again; then come the results, when all streams have ended.
So whoever drives it reads the clocks of the proxy when nothing moves.
"""

from __future__ import annotations

import gc
import json
import re
import select
import socket
import sys
from array import array
from contextlib import suppress
from dataclasses import asdict, dataclass
from time import monotonic_ns
from typing import TYPE_CHECKING

from bench.client import LAST_CHUNK, percentile
from bench.load import CHAT_PATH, STAMP_DIGITS, STAMP_PREFIX, Load, request_bytes
from bench.upstream import (
    SMALL_ANSWER,
    STREAM_HEAD,
    STREAM_TAIL,
    TOKEN_AFTER,
    TOKEN_BEFORE,
    complete_body,
)

if TYPE_CHECKING:
    from collections.abc import Callable

_TIMED_STREAMS = 50
_LOOKS_PER_S = 10  # at what the other clients have
_TICK_NS = 1_000_000  # how often tokens are sent: the resolution of an event loop's timers
_BURST = 40  # tokens after which timed clients are looked at
_PATIENCE_S = 20.0  # with streams that do not begin, or do not end
_READ_BYTES = 65536
_CHUNK_HEAD = re.compile(rb"\r\n[0-9a-fA-F]+\r\n")


@dataclass(frozen=True, slots=True)
class Paced:
    """So many streams at so many tokens per second each."""

    port: int
    """Of the proxy, or of the server itself."""
    streams: int
    rate: float
    tokens: int
    """Of each stream, the first not counted: it is there before the clock starts."""
    path: str = CHAT_PATH
    patience_s: float = _PATIENCE_S
    """How long the last token may take once all have been sent."""

    @property
    def total_rate(self) -> float:
        """Tokens per second of all streams."""
        return self.streams * self.rate

    @property
    def ideal_s(self) -> float:
        """How long the tokens take if nobody is late."""
        return self.tokens / self.rate

    def request(self) -> bytes:
        """Return what each client sends."""
        return request_bytes(
            Load(1, 1, self.tokens + 1, round(1e6 / self.rate), path=self.path),
        )


@dataclass(frozen=True, slots=True)
class PacedResult:
    """What the clients saw; latencies are those of the timed ones."""

    tokens: int
    sent_s: float
    """From the first token to the last, as they were sent."""
    p50_ms: float
    p99_ms: float
    p999_ms: float
    max_ms: float


class PacerError(Exception):
    """The load could not be offered; the message says why."""


class _Stream:
    """A client's end of a stream."""

    __slots__ = ("_carry", "ended", "latencies_ns", "sock", "tokens")

    def __init__(self, port: int) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE_S)
        self.latencies_ns: array[int] | None = None  # where they are noted, if at all
        self.tokens = 0
        self.ended = False
        self._carry = b""

    def read(self) -> None:
        """Take what is there."""
        try:
            data = self.sock.recv(_READ_BYTES)
        except BlockingIOError:
            return
        now_ns = monotonic_ns()
        if not data:
            raise PacerError(f"a stream was cut after {self.tokens} tokens")
        # What follows the last record may be half of one, or of a chunk's head. Proxies may frame
        # chunks as they like, in the midst of a record, too.
        data, _, self._carry = (self._carry + data).rpartition(b"\n\n")
        data = _CHUNK_HEAD.sub(b"", data)
        if self.latencies_ns is None:
            self.tokens += data.count(STAMP_PREFIX)
        else:
            at = data.find(STAMP_PREFIX)
            while at >= 0:
                at += len(STAMP_PREFIX)
                self.latencies_ns.append(now_ns - int(data[at : at + STAMP_DIGITS]))
                self.tokens += 1
                at = data.find(STAMP_PREFIX, at + STAMP_DIGITS)
        self.ended = self._carry.endswith(LAST_CHUNK)


class Pacer:
    """The sockets of both sides, and the schedule."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=8192)
        self._listener.settimeout(0)
        self._poller = select.epoll()
        self._handlers: dict[int, Callable[[], None]] = {}
        self._register(self._listener, self._accept)
        self._asked: list[socket.socket] = []
        """The server's ends of streams that have been asked for, in this order."""

    @property
    def port(self) -> int:
        """Where the server listens."""
        port: int = self._listener.getsockname()[1]
        return port

    def serve_forever(self) -> None:
        """Offer the loads of standard input; answer small requests at any time."""
        ended = False

        def take() -> None:
            nonlocal ended
            line = sys.stdin.readline()
            ended = not line
            if line:
                try:
                    self._offer(Paced(**json.loads(line)))
                except (PacerError, OSError) as error:
                    _tell({"failed": str(error)})

        self._poller.register(sys.stdin.fileno(), select.EPOLLIN)
        self._handlers[sys.stdin.fileno()] = take
        while not ended:
            self._serve(1.0)

    def _offer(self, load: Paced) -> None:
        self._asked.clear()
        streams: list[_Stream] = []
        try:
            self._open(load, streams)
            _tell({"open": len(streams)})
            _await_word()
            latencies_ns: array[int] = array("q")
            sent_s = self._pace(load, streams, latencies_ns)
            _tell({"paced": len(streams)})
            _await_word()
            self._end(streams)
        finally:
            for stream in streams:
                self._forget(stream.sock)
                stream.sock.close()
        ordered_ns = sorted(latencies_ns)
        p50_ms, p99_ms, p999_ms = (percentile(ordered_ns, s) / 1e6 for s in (0.5, 0.99, 0.999))
        tokens = load.streams * load.tokens
        result = PacedResult(tokens, sent_s, p50_ms, p99_ms, p999_ms, ordered_ns[-1] / 1e6)
        _tell(asdict(result))
        gc.collect()

    def _open(self, load: Paced, streams: list[_Stream]) -> None:
        """Ask for all streams, begin to answer, see that each client has a token."""
        request = load.request()
        for number in range(load.streams):
            stream = _Stream(load.port)
            streams.append(stream)
            stream.sock.sendall(request)
            stream.sock.settimeout(0)
            if number % 2:
                self._serve(0.001)  # not all in one instant
        self._serve_until(
            lambda: len(self._asked) >= load.streams,
            lambda: f"{len(self._asked)} of {load.streams} requests have reached the server",
        )
        for stream in streams:
            self._register(stream.sock, stream.read)
        for number, server in enumerate(self._asked):
            server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            server.sendall(STREAM_HEAD)
            server.sendall(_token())
            server.settimeout(0)
            if number % 10 == 9:
                self._serve(0.001)
        self._serve_until(
            lambda: all(stream.tokens for stream in streams), lambda: "not all streams have begun"
        )

    def _pace(self, load: Paced, streams: list[_Stream], latencies_ns: array[int]) -> float:
        """Send all tokens on schedule; return how long that took."""
        count = load.streams * load.tokens
        step = max(1, load.streams // _TIMED_STREAMS)
        timed = [stream for n, stream in enumerate(streams) if n % step == 0]
        for stream in timed:
            stream.latencies_ns = latencies_ns
        others = [stream for n, stream in enumerate(streams) if n % step]
        for stream in others:
            self._forget(stream.sock)
        sends = [server.send for server in self._asked]
        size = len(_token())
        rate, per_look = load.total_rate / 1e9, _LOOKS_PER_S * len(others) / 1e9
        sent = looked = 0
        start_ns = next_ns = monotonic_ns()
        while sent < count:
            now_ns = monotonic_ns()
            due = sent
            if now_ns >= next_ns:
                due = min(int((now_ns - start_ns) * rate) + 1, count, sent + _BURST)
                next_ns = now_ns if due == sent + _BURST else now_ns + _TICK_NS
            for n in range(sent, due):
                if sends[n % load.streams](_token()) != size:
                    raise PacerError("the proxy does not read")
            sent = due
            look = int((now_ns - start_ns) * per_look)
            for n in range(looked, min(look, looked + _BURST)):
                others[n % len(others)].read()
            looked = min(look, looked + _BURST)
            self._serve(max(next_ns - now_ns, 0) / 1e9)
        sent_s = (monotonic_ns() - start_ns) / 1e9
        for stream in others:
            self._register(stream.sock, stream.read)
        self._serve_until(
            lambda: all(stream.tokens > load.tokens for stream in streams),
            lambda: "tokens are missing",
            load.patience_s,
        )
        return sent_s

    def _end(self, streams: list[_Stream]) -> None:
        for server in self._asked:
            server.settimeout(_PATIENCE_S)
            server.sendall(STREAM_TAIL)
            server.settimeout(0)
        self._serve_until(
            lambda: all(stream.ended for stream in streams), lambda: "not all streams have ended"
        )

    def _serve_until(
        self, holds: Callable[[], bool], what: Callable[[], str], patience_s: float = _PATIENCE_S
    ) -> None:
        deadline_ns = monotonic_ns() + patience_s * 1e9
        while not holds():
            if monotonic_ns() > deadline_ns:
                raise PacerError(what())
            self._serve(0.01)

    def _serve(self, timeout_s: float) -> None:
        for fd, _ in self._poller.poll(timeout_s):
            handler = self._handlers.get(fd)  # one before it may have closed this one
            if handler is not None:
                handler()

    def _accept(self) -> None:
        with suppress(BlockingIOError):
            while True:
                sock, _ = self._listener.accept()
                sock.settimeout(0)
                self._serve_connection(sock)

    def _serve_connection(self, sock: socket.socket) -> None:
        buffer = b""

        def read() -> None:
            nonlocal buffer
            try:
                data = sock.recv(_READ_BYTES)
            except BlockingIOError:
                return
            except ConnectionError:
                data = b""
            if not data:
                self._forget(sock)
                sock.close()
                return
            buffer += data
            body = complete_body(buffer)
            if body is None:
                return
            buffer = b""
            if body and json.loads(body).get("stream"):
                self._asked.append(sock)
            else:
                sock.send(SMALL_ANSWER)

        self._register(sock, read)

    def _register(self, sock: socket.socket, handler: Callable[[], None]) -> None:
        self._handlers[sock.fileno()] = handler
        self._poller.register(sock, select.EPOLLIN)

    def _forget(self, sock: socket.socket) -> None:
        if self._handlers.pop(sock.fileno(), None) is not None:
            self._poller.unregister(sock)


def _token() -> bytes:
    return b"%b%020d%b" % (TOKEN_BEFORE, monotonic_ns(), TOKEN_AFTER)


def _tell(answer: dict[str, object]) -> None:
    print(json.dumps(answer), flush=True)


def _await_word() -> None:
    if not sys.stdin.readline():
        raise SystemExit


def main() -> None:
    """Print the port, then offer loads until standard input ends."""
    gc.freeze()
    gc.disable()  # a collection would show as latency
    pacer = Pacer()
    print(pacer.port, flush=True)
    pacer.serve_forever()


if __name__ == "__main__":
    main()
