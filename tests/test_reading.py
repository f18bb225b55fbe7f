"""What a client sends, cut into requests: nothing is lost, and nothing is mistaken."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from tests.test_listener import CHUNKED, GET, connected, make_listener, settle

if TYPE_CHECKING:
    from goodput_proxy.proxy import Request

WISH = b"GET /x HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUPGRADE: %b\r\n\r\n"


async def test_head_times() -> None:
    """Each head has the time of the read that completed it, though it may wait for its turn."""
    times: list[int] = []
    turn = asyncio.Event()

    async def handle(request: Request, _: object) -> bool:
        times.append(request.t0_ns)
        await turn.wait()
        return True

    async with connected(make_listener(handle)) as (connection, _):
        connection.data_received(GET[:10])
        await asyncio.sleep(0.01)
        connection.data_received(GET[10:] + GET + GET[:5])
        await settle()
        await asyncio.sleep(0.01)
        connection.data_received(GET[5:])
        turn.set()
        await settle()
    first, second, third = times
    assert first == second
    assert third - first > 9_000_000


async def test_malformed_body() -> None:
    """The reader of a body that is spoiled learns of it, and nothing after it is read."""
    errors: list[str] = []

    async def handle(request: Request, _: object) -> bool:
        try:
            while not request.body.at_eof():
                await request.body.readany()
        except web.RequestPayloadError as exc:
            errors.append(str(exc))
        return False

    async with connected(make_listener(handle)) as (connection, transport):
        connection.data_received(CHUNKED + b"3\r\nabc\r\n")
        await settle()
        connection.data_received(b"zz\r\n")
        connection.data_received(GET)
        await settle()
        assert errors == ["the body is malformed"]
        assert transport.closed
        assert transport.written == b""


@pytest.mark.parametrize("protocol", [b"websocket", b"WebSocket", b"other", b"a/1, websocket"])
@pytest.mark.parametrize("before", [b"", GET, b"\r\n" + GET + GET])
async def test_bytes_behind_a_wish_for_another_protocol(protocol: bytes, before: bytes) -> None:
    """All of them are held back, wherever reads are cut; none is taken for a request."""
    data = before + WISH % protocol + b"GET early\r\n\r\n\x00"
    for cut in range(len(data)):
        seen: list[Request] = []
        waiting = asyncio.Event()

        async def handle(
            request: Request,
            _: object,
            seen: list[Request] = seen,
            waiting: asyncio.Event = waiting,
        ) -> bool:
            seen.append(request)
            if request.take_early is not None:
                await waiting.wait()
            return True

        async with connected(make_listener(handle)) as (connection, _):
            for piece in (data[:cut], data[cut:]):
                connection.data_received(piece)
                await settle()
            early = [r.take_early() for r in seen if r.take_early is not None]

        assert early == [b"GET early\r\n\r\n\x00"]
        assert len(seen) == 1 + before.count(b"GET")


@pytest.mark.parametrize(
    "request_bytes",
    [
        WISH % b"h2c",
        WISH % b"",
        WISH.replace(b"1.1", b"1.0") % b"websocket",
        WISH.replace(b"Connection: Upgrade\r\n", b"") % b"websocket",
        GET.replace(b"Host", b"Upgrade-Insecure-Requests: 1\r\nHost"),
    ],
)
async def test_what_is_no_wish(request_bytes: bytes) -> None:
    """Nothing is held back for the proxy, and pipelined requests are not lost."""
    seen: list[Request] = []

    async def handle(request: Request, _: object) -> bool:
        seen.append(request)
        return True

    async with connected(make_listener(handle)) as (connection, _):
        connection.data_received(request_bytes + GET)
        await settle()

    assert [request.take_early for request in seen][:1] == [None]
    assert len(seen) == (1 if b"HTTP/1.0" in request_bytes else 2)


async def test_a_malformed_body_behind_a_declined_wish() -> None:
    """Its reader learns of it, although its head was held back."""
    errors: list[str] = []

    async def handle(request: Request, _: object) -> bool:
        try:
            while not request.body.at_eof():
                await request.body.readany()
        except web.RequestPayloadError as exc:
            errors.append(str(exc))
        return not errors

    async with connected(make_listener(handle)) as (connection, transport):
        connection.data_received(WISH % b"websocket" + CHUNKED + b"3\r\nabc\r\n")
        await settle()
        connection.data_received(b"zz\r\n")
        await settle()
        assert errors == ["the body is malformed"]
        assert transport.closed


async def test_a_malformed_wish() -> None:
    """It is answered as any other malformed request, and what follows it is not looked at."""

    async def handle(*_: object) -> bool:
        raise AssertionError

    async with connected(make_listener(handle)) as (connection, transport):
        connection.data_received((WISH % b"other").replace(b"Host", b"Ho st") + GET)
        await settle()

    assert transport.written.startswith(b"HTTP/1.1 400 ")
    assert transport.written.count(b"HTTP/1.1") == 1


@pytest.mark.parametrize(
    ("head", "again"),
    [(WISH % b"other", False), (WISH % b"websocket", True), (GET, True)],
)
async def test_a_wish_that_is_too_far_from_the_end_of_its_head(
    head: bytes,
    again: bool,  # noqa: FBT001 -- a test's parameter
) -> None:
    """Aiohttp loses what follows in the same read, so the connection must close."""
    seen: list[bool] = []

    async def handle(request: Request, _: object) -> bool:
        seen.append(request.keep_alive)
        return request.keep_alive

    async with connected(make_listener(handle)) as (connection, transport):
        for data in (head[:-2], b"X-A: " + b"a" * 20_000, b"\r\n\r\n" + GET):
            connection.data_received(data)
        await settle()

    assert seen == ([True, True] if again else [False])
    assert transport.closed


async def test_a_wish_on_a_connection_that_closes() -> None:
    """Nothing is parsed any more."""

    async def handle(*_: object) -> bool:
        raise AssertionError

    async with connected(make_listener(handle)) as (connection, _):
        connection.close()
        connection.data_received(WISH % b"other" + GET)
        await settle()


TRAILED = CHUNKED + b"3\r\nabc\r\n0\r\nX-A: 1\r\n\r\n"


@pytest.mark.parametrize(
    ("reads", "names", "again"),
    [
        ([TRAILED, GET], [[b"Host", b"Transfer-Encoding"], [b"Host"]], True),
        ([TRAILED[:-1], TRAILED[-1:], GET], [[b"Host", b"Transfer-Encoding"], [b"Host"]], True),
        ([TRAILED + GET], [[b"Host", b"Transfer-Encoding"]], False),
        ([TRAILED + GET[:9], GET[9:]], [[b"Host", b"Transfer-Encoding"]], False),
        ([TRAILED[:60], TRAILED[60:] + GET], [[b"Host", b"Transfer-Encoding"]], False),
        ([GET + TRAILED, GET], [[b"Host"], [b"Host", b"Transfer-Encoding"]], False),
        (
            [WISH % b"websocket" + TRAILED, GET],
            [[b"Host", b"Connection", b"UPGRADE"], [b"Host", b"Transfer-Encoding"]],
            False,
        ),
        (
            [
                WISH.replace(b"GET", b"POST")[:-2] % b"websocket"
                + TRAILED.partition(b"Host: x\r\n")[2]
            ],
            [[b"Host", b"Connection", b"UPGRADE", b"Transfer-Encoding"]],
            False,
        ),
    ],
)
async def test_trailers(
    reads: list[bytes],
    names: list[list[bytes]],
    again: bool,  # noqa: FBT001 -- a test's parameter
) -> None:
    """None stands among the headers of the next request; where one might, the connection ends."""
    seen: list[list[bytes]] = []

    async def handle(request: Request, _: object) -> bool:
        seen.append([name for name, _ in request.headers])
        while not request.body.at_eof():
            await request.body.readany()
        return True

    async with connected(make_listener(handle)) as (connection, transport):
        for data in reads:
            connection.data_received(data)
            await settle()
        assert transport.closed != again

    assert seen == names
