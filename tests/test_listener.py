"""The side that faces clients, without sockets: what it adds to aiohttp's protocol."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, cast

import pytest
from aiohttp import http_parser, web

from goodput_proxy.listener import ClientConnection, Listener
from goodput_proxy.settings import LimitSettings, TimeoutSettings
from tests.fakes import FakeTransport
from tests.waiting import eventually

if TYPE_CHECKING:
    from goodput_proxy.proxy import Proxy, Request

GET = b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n"
CHUNKED = b"POST /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
Handle = Callable[["Request", Callable[[Any], None]], Awaitable[bool]]


class FakeProxy:
    """A proxy whose handler the test writes."""

    def __init__(self, handle: Handle) -> None:
        self.handle = handle
        self.refusals = 0

    def count_refusal(self) -> None:
        self.refusals += 1


class FakeRelay:
    """A relay as far as flow control and error answers concern it."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.status: int | None = None

    def pause_writing(self) -> None:
        self.told.append("pause")

    def resume_writing(self) -> None:
        self.told.append("resume")


def make_listener(handle: Handle, **timeouts: Any) -> Listener:
    """Return a listener for a handler."""
    proxy = cast("Proxy", FakeProxy(handle))
    return Listener(
        proxy,
        LimitSettings(),
        TimeoutSettings.model_validate(timeouts),
        lambda _: None,
        max_connections=100,
    )


@asynccontextmanager
async def connected(listener: Listener) -> AsyncIterator[tuple[ClientConnection, FakeTransport]]:
    """Open a connection and lose it in the end."""
    connection, transport = listener(), FakeTransport()
    connection.connection_made(transport)
    await asyncio.sleep(0)
    yield connection, transport
    connection.connection_lost(None)
    await settle()


async def settle() -> None:
    """Let the tasks of a connection run as far as they get."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_request() -> None:
    """A handler gets the request as it was parsed, and the time at which its head was read."""
    seen: list[Request] = []

    async def handle(request: Request, _: object) -> bool:
        seen.append(request)
        return True

    async with connected(make_listener(handle)) as (connection, transport):
        connection.data_received(GET.replace(b"Host: x", b"hOST: x\r\nA: \xe9\r\na: 2"))
        await settle()
        assert not transport.closed
        assert transport.written == b""
    (request,) = seen
    assert (request.method, request.target, request.version) == ("GET", "/x", (1, 1))
    assert list(request.headers) == [(b"hOST", b"x"), (b"A", b"\xe9"), (b"a", b"2")]
    assert (request.chunked, request.keep_alive) == (False, True)
    assert request.body.at_eof()
    assert request.transport is transport


async def test_closing() -> None:
    """The connection closes when the handler says so."""

    async def handle(request: Request, _: object) -> bool:
        return request.target == "/again"

    async with connected(make_listener(handle)) as (connection, transport):
        connection.data_received(GET.replace(b"/x", b"/again"))
        await settle()
        assert not transport.closed
        connection.data_received(GET)
        await settle()
        assert transport.closed


async def test_flow_control() -> None:
    """The client's flow control reaches the relay at hand, from its first byte on."""
    relays = [FakeRelay(), FakeRelay()]
    turns = [asyncio.Event(), asyncio.Event()]
    count = 0

    async def handle(_: Request, follow: Callable[[Any], None]) -> bool:
        nonlocal count
        relay, turn = relays[count], turns[count]
        count += 1
        follow(relay)
        await turn.wait()
        return True

    first, second = relays
    async with connected(make_listener(handle)) as (connection, _):
        connection.pause_writing()
        connection.resume_writing()
        connection.data_received(GET + GET)
        await settle()
        connection.pause_writing()
        turns[0].set()
        await settle()
        connection.resume_writing()
        turns[1].set()
        await settle()
        connection.pause_writing()
    assert first.told == ["pause"]
    assert second.told == ["pause", "resume"]


async def test_malformed_head() -> None:
    """What cannot be parsed is answered without its bytes, and counted; no handler sees it."""

    async def handle(_: Request, __: object) -> bool:
        raise AssertionError

    listener = make_listener(handle)
    async with connected(listener) as (connection, transport):
        connection.data_received(b"secret\r\n\r\n")
        await settle()
        assert transport.written.startswith(b"HTTP/1.1 400 Bad Request\r\n")
        assert b"secret" not in transport.written
        assert transport.closed
    assert cast("FakeProxy", listener._proxy).refusals == 1


async def test_malformed_head_behind_a_request() -> None:
    """A request is answered, although what follows it cannot be parsed."""
    turn = asyncio.Event()
    transport = FakeTransport()

    async def handle(_: Request, __: object) -> bool:
        await turn.wait()
        transport.write(b"answer")
        return True

    connection = make_listener(handle)()
    connection.connection_made(transport)
    await asyncio.sleep(0)
    connection.data_received(GET)
    await settle()
    connection.data_received(b"secret\r\n\r\n")
    turn.set()
    await settle()
    assert transport.written.startswith(b"answerHTTP/1.1 400 ")
    assert transport.closed
    connection.connection_lost(None)


async def test_failing_handler(caplog: pytest.LogCaptureFixture) -> None:
    """A defect is a 500 as long as no head was passed on; afterwards it only cuts."""
    relay = FakeRelay()

    async def handle(_: Request, follow: Callable[[Any], None]) -> bool:
        follow(relay)
        raise RuntimeError("defect")

    for status, written in ((None, b"HTTP/1.1 500 Internal Server Error\r\n"), (200, b"")):
        relay.status = status
        async with connected(make_listener(handle)) as (connection, transport):
            connection.data_received(GET)
            await settle()
            assert transport.written.startswith(written)
            assert bool(transport.written) == bool(written)
            assert transport.closed
    assert "a request failed inside the proxy" in caplog.text


async def test_client_that_leaves() -> None:
    """A client that leaves cancels its handler, and then nothing is answered."""
    cancelled = asyncio.Event()

    async def handle(_: Request, __: object) -> bool:
        try:
            return await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async with connected(make_listener(handle)) as (connection, transport):
        connection.data_received(GET)
        await settle()
        connection.connection_lost(None)
        await settle()
        assert cancelled.is_set()
        assert transport.written == b""
    connection.handle_error(cast("web.BaseRequest", None), 400)
    assert transport.written == b""


async def test_closing_what_is_idle() -> None:
    """Connections without a request close at once; the others go on, their uploads, too."""
    bodies: list[bytes] = []

    async def handle(request: Request, _: object) -> bool:
        bodies.append(await request.body.read())
        return False

    listener = make_listener(handle)
    async with connected(listener) as (_, idle), connected(listener) as (busy, transport):
        busy.data_received(CHUNKED + b"3\r\nabc\r\n")
        await settle()
        listener.close_idle()
        assert idle.closed
        assert not transport.closed
        busy.data_received(b"3\r\ndef\r\n0\r\n\r\n")
        await settle()
        assert bodies == [b"abcdef"]
        assert transport.closed


async def test_keep_alive_timeout() -> None:
    """A connection on which nothing comes is closed, also one that never said anything."""

    async def handle(_: Request, __: object) -> bool:
        return True

    async with connected(make_listener(handle, keepalive="20ms")) as (_, transport):
        await eventually(lambda: transport.closed)


async def test_dripping_head() -> None:
    """A head that does not come to its end is not waited for."""

    async def handle(_: Request, __: object) -> bool:
        raise AssertionError

    async with connected(make_listener(handle, keepalive="20ms")) as (connection, transport):
        connection.data_received(GET[:-2])
        await eventually(lambda: transport.closed)


async def test_gzip_upload_is_not_decompressed() -> None:
    """The settings reach aiohttp: it would decompress bodies by default."""
    bodies: list[bytes] = []

    async def handle(request: Request, _: object) -> bool:
        bodies.append(await request.body.read())
        return True

    request = b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\n"
    async with connected(make_listener(handle)) as (connection, _):
        connection.data_received(request + b"\x1f\x8b\x08\x00")
        await settle()
    assert bodies == [b"\x1f\x8b\x08\x00"]


async def test_slow_parser_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without aiohttp's C parser the listener does not start: the other one is untested."""

    async def handle(_: Request, __: object) -> bool:
        return True

    monkeypatch.setattr(http_parser, "HttpRequestParser", http_parser.HttpRequestParserPy)
    with pytest.raises(RuntimeError, match="C parser"):
        make_listener(handle)
