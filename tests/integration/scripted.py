"""A scripted inference server, the proxy in front of it, and a client of any make.

The server speaks an API as its test has written it down, piece by piece, and sends a piece only
when the client has the one before: a stream is a stream without a clock, and each record is a read
of its own for the proxy. A `Cable` lies between client and proxy, whatever HTTP library the
client is built on, and notes all that passes: what the server said must come out of it unchanged.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, TypeVar

from tests.integration.fake_upstream import (
    FakeUpstream,
    Peer,
    parse_answer,
    parse_request,
    split_headers,
)
from tests.integration.harness import LAST_CHUNK, RunningProxy, chunk, scrape
from tests.waiting import PATIENCE_S, eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine

    from tests.samples import Samples

T = TypeVar("T")

MODEL = "m"
JSON = b"application/json"


class Close(Enum):
    """When a stream's body ends."""

    WITH = auto()  # in the same write as the last piece
    BEHIND = auto()  # when the client has the last piece, unless it has left by then
    NEVER = auto()  # silence follows the last piece: the client is to leave


@dataclass(frozen=True)
class Script:
    """What the server answers to one request."""

    pieces: tuple[bytes, ...]
    content_type: bytes = JSON
    status: bytes = b"200 OK"
    streamed: bool = False
    close: Close = Close.BEHIND


def sse(*records: bytes, close: Close = Close.BEHIND) -> Script:
    """Return a stream of server-sent events, one piece each."""
    return Script(records, b"text/event-stream; charset=utf-8", streamed=True, close=close)


def lines(*values: Any, close: Close = Close.BEHIND) -> Script:
    """Return a stream of JSON lines."""
    pieces = tuple(compact(value) + b"\n" for value in values)
    return Script(pieces, b"application/x-ndjson", streamed=True, close=close)


def whole(value: Any, status: bytes = b"200 OK") -> Script:
    """Return a JSON answer in one piece."""
    return Script((compact(value),), status=status)


def data(value: Any) -> bytes:
    """Return a record of bare data."""
    return b"data: " + compact(value) + b"\n\n"


def typed(value: dict[str, Any]) -> bytes:
    """Return a record that names its event."""
    return b"event: %b\n" % str(value["type"]).encode() + data(value)


def compact(value: Any) -> bytes:
    """Return JSON without spaces and with its text as it is."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


async def collect(stream: AsyncIterator[T], into: list[T]) -> None:
    """Read a stream to its end or its error, and keep what came before it."""
    async for each in stream:
        into.append(each)  # noqa: PERF401 -- a comprehension would keep nothing


@dataclass
class Counted:
    """By how much the proxy's metrics have moved; what has not moved is absent."""

    requests: dict[str, int] = field(default_factory=dict)  # by api, model, verdict and cause
    output_tokens: dict[str, int] = field(default_factory=dict)  # by model and verdict
    input_tokens: dict[str, int] = field(default_factory=dict)  # likewise
    sources: dict[str, int] = field(default_factory=dict)
    token_records: int = 0  # of streams: the first tokens and the gaps behind them
    passthrough: dict[str, int] = field(default_factory=dict)
    tap_errors: dict[str, int] = field(default_factory=dict)
    cancels: dict[str, int] = field(default_factory=dict)


def judged(
    api: str,
    verdict: str = "good",
    *,
    output: int = 0,
    prompt: int = 0,
    source: str = "usage",
    records: int = 0,
    cancels: str = "",
) -> Counted:
    """Return what the proxy counts of one inference request.

    Args:
        api: the label.
        verdict: with a cause behind it, if it has one.
        output: generated tokens.
        prompt: tokens of the prompt.
        source: where the number of generated tokens comes from.
        records: of a stream that show a token.
        cancels: the phase in which the client left early.
    """
    of = f"{MODEL} {verdict.partition(' ')[0]}"
    return Counted(
        requests={f"{api} {MODEL} {verdict}": 1},
        output_tokens={of: output} if output else {},
        input_tokens={of: prompt} if prompt else {},
        sources={source: 1} if output else {},
        token_records=records,
        cancels={cancels: 1} if cancels else {},
    )


def passed(kind: str) -> Counted:
    """Return what the proxy counts of one request that is not judged."""
    return Counted(passthrough={kind: 1})


class Cable:
    """The wire between a client and the proxy, with a note of what has passed."""

    def __init__(self) -> None:
        self.sent = bytearray()
        self.received = bytearray()
        self._seen = 0  # bytes of `received` that have been waited for
        self._passed = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._carrying: set[asyncio.Task[None]] = set()
        self._proxy_port = 0

    async def start(self, proxy_port: int) -> str:
        """Listen for clients; return the address for them."""
        self._proxy_port = proxy_port
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        return f"http://127.0.0.1:{port}"

    async def until_received(self, piece: bytes) -> None:
        """Wait until the next piece has been carried to the client; whoever left needs none."""
        async with asyncio.timeout(PATIENCE_S):
            while (at := self.received.find(piece, self._seen)) < 0 and self._carrying:
                self._passed.clear()
                await self._passed.wait()
        self._seen = at + len(piece)

    def forget(self) -> None:
        """Forget what has passed."""
        self._seen = 0
        self.sent.clear()
        self.received.clear()

    async def stop(self) -> None:
        """Cut what is still connected."""
        assert self._server is not None
        self._server.close()
        for task in self._carrying:
            task.cancel()
        await asyncio.gather(*self._carrying, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._carrying.add(task)
        proxy_reader, proxy_writer = await asyncio.open_connection("127.0.0.1", self._proxy_port)
        down = asyncio.ensure_future(self._carry(proxy_reader, writer, self.received))
        try:
            await self._carry(reader, proxy_writer, self.sent)
            await down
        except (asyncio.CancelledError, OSError):
            down.cancel()
        finally:
            self._carrying.discard(task)
            self._passed.set()
            proxy_writer.close()
            writer.close()

    async def _carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, note: bytearray
    ) -> None:
        while piece := await reader.read(1 << 16):
            note += piece
            writer.write(piece)
            await writer.drain()
            self._passed.set()
        writer.write_eof()


@dataclass
class Stage:
    """A scripted server with the proxy in front, and the cable that a client is plugged into."""

    url: str
    proxy: RunningProxy
    cable: Cable
    request: bytes = b""  # the body of the last one, as the server saw it
    before: Samples | None = None

    async def perform(self, script: Script, call: Coroutine[Any, Any, T]) -> T:
        """Let a client make one call and answer it; check that no byte of either was changed."""
        self.cable.forget()
        async with asyncio.TaskGroup() as group:
            client = group.create_task(call)
            group.create_task(self._play(script))
        self._check_request()
        self._check_answer(script)
        return client.result()

    async def counted(self) -> Counted:
        """Return by how much the metrics have moved since they were last read."""
        await self.proxy.idle()
        before, after = self.before, await scrape(self.proxy.admin_port)
        self.before = after

        def moved(name: str, *labels: str) -> dict[str, int]:
            sums: dict[str, int] = {}
            earlier = before.of(name) if before else {}
            for have, value in after.of(name).items():
                if step := value - earlier.get(have, 0):
                    of = dict(have)
                    key = " ".join(filter(None, (of[label] for label in labels)))
                    sums[key] = sums.get(key, 0) + int(step)
            return sums

        firsts = moved("goodput_time_to_first_token_seconds_count")
        gaps = moved("goodput_inter_chunk_latency_seconds_count")
        return Counted(
            requests=moved("goodput_requests_total", "api", "model", "verdict", "cause"),
            output_tokens=moved("goodput_output_tokens_total", "model", "verdict"),
            input_tokens=moved("goodput_input_tokens_total", "model", "verdict"),
            sources=moved("goodput_token_count_source_total", "source"),
            token_records=sum(firsts.values()) + sum(gaps.values()),
            passthrough=moved("goodput_passthrough_requests_total", "kind"),
            tap_errors=moved("goodput_tap_errors_total", "reason"),
            cancels=moved("goodput_client_cancels_total", "phase"),
        )

    async def _play(self, script: Script) -> None:
        await eventually(self._asking, "a request")
        server = self._asking()
        assert server is not None
        _, self.request = await server.request()
        framing = (
            b"Transfer-Encoding: chunked"
            if script.streamed
            else b"Content-Length: %d" % sum(map(len, script.pieces))
        )
        server.send(
            *(b"HTTP/1.1 ", script.status, b"\r\nContent-Type: ", script.content_type, b"\r\n"),
            *(framing, b"\r\n\r\n"),
        )
        for left, piece in zip(range(len(script.pieces))[::-1], script.pieces, strict=True):
            if server.ending is not None:
                return  # the client has left, and the proxy has left with it
            framed = chunk(piece) if script.streamed else piece
            server.send(framed, b"" if left or script.close is not Close.WITH else LAST_CHUNK)
            await self.cable.until_received(piece)
        if script.close is Close.NEVER:
            await server.ended()
        elif script.streamed and script.close is Close.BEHIND and server.ending is None:
            server.send(LAST_CHUNK)

    def _asking(self) -> Peer | None:
        """Return the connection on which a request is waiting; the proxy may use one again."""
        for peer in self.proxy.upstream.peers:
            if peer.ending is None and parse_request(bytes(peer.received)):
                return peer
        return None

    def _check_request(self) -> None:
        sent = parse_request(bytes(self.cable.sent))
        assert sent is not None
        assert sent[1] == self.request

    def _check_answer(self, script: Script) -> None:
        """Compare what the cable has carried with the script, as far as the client stayed."""
        received = bytes(self.cable.received)
        head, _, body = received.partition(b"\r\n\r\n")
        headers = dict(split_headers(head.split(b"\r\n")[1:]))
        assert head.startswith(b"HTTP/1.1 " + script.status)
        assert headers[b"Content-Type"] == script.content_type
        answer = parse_answer(received, ended=None)
        if answer is not None:
            assert answer.body == b"".join(script.pieces)
        else:
            assert body == b"".join(map(chunk, script.pieces))[: len(body)]


@asynccontextmanager
async def staged(**settings: Any) -> AsyncIterator[Stage]:
    """Set the stage with limits that nothing here misses."""
    upstream = FakeUpstream()
    await upstream.start()
    proxy = await RunningProxy.start(upstream, slo={"ttft": "60s", "itl": "60s"}, **settings)
    cable = Cable()
    url = await cable.start(proxy.port)
    try:
        yield Stage(url, proxy, cable)
    finally:
        await cable.stop()
        await proxy.stop()
        await upstream.stop()
