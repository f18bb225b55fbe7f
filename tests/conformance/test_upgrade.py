"""Promises 42 and 43: other protocols, and requests that are sent before their turn."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import aiohttp
import pytest
from aiohttp import web

from tests.integration.fake_upstream import Ending
from tests.integration.harness import CHUNKED_POST, LAST_CHUNK, chunk, get_request, post, sized
from tests.integration.tunnels import CHAOS, HANDSHAKE, SWITCH, WISHES, open_tunnel, serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.integration.conftest import StartProxy
    from tests.integration.fake_upstream import FakeUpstream
    from tests.integration.harness import RunningProxy


async def test_42_the_request_and_the_101_pass_as_what_they_are(
    proxy: RunningProxy,
) -> None:
    """The wish is passed on, rewritten for its connection; the 101 head as it is."""
    client, server = await proxy.begin(HANDSHAKE)
    head, _ = await server.request()
    server.send(SWITCH)
    await client.until(rb"\r\n\r\n")

    tail = (b"Sec-WebSocket-Key: a", b"Connection: Upgrade", b"Upgrade: websocket")
    assert head == get_request(b"/ws", *tail)
    assert client.take() == SWITCH


@pytest.mark.parametrize("direction", [0, 1])
async def test_42_bytes_pass_as_they_are(proxy: RunningProxy, direction: int) -> None:
    """Whatever is sent arrives, either way."""
    ends = await open_tunnel(proxy)
    sender, receiver = ends[direction], ends[1 - direction]
    await sender.pour(CHAOS[i : i + 1000] for i in range(0, len(CHAOS), 1000))
    await receiver.until_size(receiver.size - len(receiver.received) + len(CHAOS))

    assert receiver.take() == CHAOS


async def test_42_both_ways_at_once(proxy: RunningProxy) -> None:
    """Neither direction waits for the other."""
    client, server = await open_tunnel(proxy)
    sizes = [end.size - len(end.received) + len(CHAOS) for end in (client, server)]
    back = CHAOS[::-1]
    await asyncio.gather(
        client.pour(CHAOS[i : i + 7000] for i in range(0, len(CHAOS), 7000)),
        server.pour(back[i : i + 3000] for i in range(0, len(back), 3000)),
    )
    await client.until_size(sizes[0])
    await server.until_size(sizes[1])

    assert (client.take(), server.take()) == (back, CHAOS)


async def test_42_what_was_sent_early_is_not_lost(proxy: RunningProxy) -> None:
    """Neither what a client sends behind its request, nor a server behind its 101."""
    client, server = await open_tunnel(proxy, b"from client " * 9000, b"from server")
    await client.until(rb"from server$")
    await server.until(rb"(from client ){9000}$")
    client.send(b"more")
    await server.until(rb"client more$")


@pytest.mark.parametrize("first", [0, 1])
async def test_42_a_half_close_passes_and_the_other_way_goes_on(
    proxy: RunningProxy, first: int
) -> None:
    """A side that has sent all of it still receives."""
    ends = await open_tunnel(proxy)
    early, late = ends[first], ends[1 - first]
    early.send(b"last words")
    early.finish()
    await late.until(rb"last words$")
    assert await late.ended() is Ending.FIN
    late.send(b"the answer")
    await early.until(rb"the answer$")
    late.finish()

    assert await early.ended() is Ending.FIN
    await proxy.idle()


@pytest.mark.parametrize("first", [0, 1])
async def test_42_a_reset_passes(proxy: RunningProxy, first: int) -> None:
    """A side that breaks off is seen to have broken off."""
    ends = await open_tunnel(proxy)
    ends[first].reset()

    assert await ends[1 - first].ended() is Ending.RST
    await proxy.idle()


async def test_42_a_tunnel_is_counted_and_its_connection_not_used_again(
    proxy: RunningProxy, upstream: FakeUpstream
) -> None:
    """It is no inference, and leaves nothing in the pool."""
    client, server = await open_tunnel(proxy)
    client.finish()
    await server.ended()
    server.finish()
    samples = await proxy.samples()
    again = await proxy.connect()
    again.send(get_request(b"/x"))
    await (await upstream.accept()).request()

    assert samples.total("goodput_passthrough_requests_total", kind="tunnel") == 1
    assert samples.verdicts() == {}
    assert len(upstream.peers) == 2


async def test_42_a_tunnel_ends_with_the_drain(start_proxy: StartProxy) -> None:
    """At the deadline both sides see the end."""
    proxy = await start_proxy()
    client, server = await open_tunnel(proxy)
    await proxy.app.stop()

    await client.ended()
    await server.ended()


@pytest.mark.parametrize(
    "answer",
    [
        SWITCH.replace(b"websocket", b"other"),
        SWITCH.replace(b"UPGRADE: websocket\r\n", b""),
    ],
)
async def test_42_another_protocol_than_was_asked_for(proxy: RunningProxy, answer: bytes) -> None:
    """It is a failure of the server, and no tunnel."""
    client, server = await proxy.begin(HANDSHAKE)
    await server.request()
    server.send(answer)

    assert (await client.answer()).status == 502
    samples = await proxy.samples()
    assert samples.total("goodput_upstream_errors_total", reason="protocol") == 1


@pytest.mark.parametrize(
    "wishes",
    [
        (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: x"),
        (b"Connection: Upgrade", b"Upgrade: H2C", b"HTTP2-Settings: x"),
        (b"Connection: Upgrade", b"Upgrade: ,"),
        (b"Upgrade: websocket",),
        (b"Connection: Upgrade",),
        (b"Connection: Upgrade", b"Upgrade:"),
    ],
)
async def test_42_what_is_not_asked_for_in_full_is_stripped(
    proxy: RunningProxy, wishes: tuple[bytes, ...]
) -> None:
    """HTTP/2 over an upgrade and half a wish are plain requests, also for what follows them."""
    client, server = await proxy.begin(get_request(b"/1", *wishes) + get_request(b"/2"))
    for target in (b"/1", b"/2"):
        head, _ = await server.request()
        assert head == get_request(target)
        server.send(sized(target))
        assert (await client.answer()).body == target


@pytest.mark.parametrize(
    "wish",
    [
        (b"Upgrade: h2c, websocket", b"HTTP2-Settings: x"),
        (b"Upgrade: websocket,H2C",),
        (b"Upgrade: h2c", b"Upgrade: websocket"),
        (b"Upgrade: websocket", b"Upgrade: h2c"),
    ],
)
async def test_42_http_2_is_taken_off_the_list(
    proxy: RunningProxy, wish: tuple[bytes, ...]
) -> None:
    """What else a client would switch to is asked for, and may be chosen."""
    request = get_request(b"/ws", b"Connection: Upgrade, HTTP2-Settings", *wish)
    client, server = await proxy.begin(request + b"early")
    head, _ = await server.request()
    assert head == get_request(b"/ws", b"Connection: Upgrade", b"Upgrade: websocket")
    server.send(SWITCH)
    await server.until(rb"^early$")
    server.send(b"back")
    await client.until(rb"back$")

    assert client.take() == SWITCH + b"back"


async def test_42_a_request_with_a_body_is_not_upgraded(proxy: RunningProxy) -> None:
    """Where the protocols change would depend on what arrives when."""
    client, server = await proxy.begin(post(b"{}", *WISHES, path=b"/ws"))
    head, body = await server.request()
    server.send(SWITCH)

    assert (head, body) == (
        post(b"", b"Sec-WebSocket-Key: a", path=b"/ws").replace(b"Length: 0", b"Length: 2"),
        b"{}",
    )
    assert (await client.answer()).status == 502


BODIES = {
    "sized": post(b"{}", b"Connection: Upgrade", b"Upgrade: other", path=b"/1"),
    "h2c": post(b"{}", b"Connection: Upgrade", b"Upgrade: h2c", path=b"/1"),
    "chunked": CHUNKED_POST.replace(b"Host", b"Connection: Upgrade\r\nUpgrade: other\r\nHost")
    + chunk(b"{}")
    + LAST_CHUNK,
}


@pytest.mark.parametrize("cut", [1, 60, 10**6])
@pytest.mark.parametrize("request_bytes", BODIES.values(), ids=BODIES)
async def test_42_a_wish_with_a_body_is_the_last_request(
    proxy: RunningProxy, request_bytes: bytes, cut: int
) -> None:
    """It is answered, and the answer says that what may have followed has not been read."""
    data = request_bytes + get_request(b"/2")
    client = await proxy.connect()
    client.send(data[:cut])
    await client.flush()
    client.send(data[cut:])
    server = await proxy.upstream.accept()
    head, _ = await server.request()
    server.send(sized(b"1"))
    answer = await client.answer()

    assert b"pgrade" not in head
    assert (answer.body, answer.header(b"Connection")) == (b"1", b"close")
    assert await client.ended() is Ending.FIN
    assert not client.received
    assert not server.received


async def test_42_a_websocket_wish_with_a_body_loses_nothing(proxy: RunningProxy) -> None:
    """What follows the body is kept and read in its turn."""
    client, server = await proxy.begin(post(b"{}", *WISHES, path=b"/1") + get_request(b"/2"))
    for target in (b"/1", b"/2"):
        head, _ = await server.request()
        assert head.split(b" ")[1] == target
        server.send(sized(target))
        assert (await client.answer()).body == target


async def test_42_wishes_behind_a_declined_wish(proxy: RunningProxy) -> None:
    """One that was sent before its turn is a plain request, and the last."""
    wish = (b"Connection: Upgrade", b"Upgrade: other")
    requests = [get_request(b"/%d" % i, *wish) for i in (1, 2, 3)]
    client, server = await proxy.begin(b"".join(requests))
    for i, head in ((1, requests[0]), (2, get_request(b"/2"))):
        assert await server.request() == (head, b"")
        server.send(sized(b"%d" % i))
    answers = [await client.answer() for _ in range(2)]

    assert [answer.body for answer in answers] == [b"1", b"2"]
    assert answers[1].header(b"Connection") == b"close"
    assert await client.ended() is Ending.FIN
    assert not server.received


async def test_42_other_protocols(proxy: RunningProxy) -> None:
    """What is asked for need not be a WebSocket: aiohttp does not have to know it."""
    wish = get_request(b"/x", b"Connection: upgrade", b"Upgrade: a/1, b")
    client, server = await proxy.begin(get_request(b"/0") + wish + b"GET early")
    await server.request()
    server.send(sized(b"0"))
    assert (await client.answer()).body == b"0"
    head, _ = await server.request()
    assert head == get_request(b"/x", b"Connection: Upgrade", b"Upgrade: a/1, b")
    client.send(b" and later")
    server.send(SWITCH.replace(b"websocket", b"B"), b"back")
    await server.until(rb"^GET early and later$")
    await client.until(rb"back$")


async def test_42_a_declined_wish_for_another_protocol(proxy: RunningProxy) -> None:
    """What was held back behind it are requests, after all."""
    wish = get_request(b"/1", b"Connection: upgrade", b"Upgrade: other")
    client, server = await proxy.begin(wish + get_request(b"/2"))
    client.send(get_request(b"/3"))
    for target in (b"/1", b"/2", b"/3"):
        head, _ = await server.request()
        assert head.startswith(b"GET " + target)
        server.send(sized(target))
        assert (await client.answer()).body == target


async def test_42_an_upload_behind_a_declined_wish(proxy: RunningProxy) -> None:
    """What its body says is nobody's wish."""
    body = b"x\r\nUpgrade: other\r\n\r\nthe rest"
    upload = post(body, path=b"/2")
    client, server = await proxy.begin(HANDSHAKE + upload[: -len(body)])
    await server.request()
    server.send(sized(b"no"))
    assert (await client.answer()).body == b"no"
    await server.until_head()
    client.send(body)

    assert (await server.request())[1] == body


@pytest.fixture
async def echo_url() -> AsyncIterator[str]:
    """Run a WebSocket server that answers every message and closes when it is told to."""

    async def echo(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(protocols=("b",), compress="deflate" in request.path)
        await socket.prepare(request)
        async for message in socket:
            if message.data == "close":
                await socket.close(code=4001, message=b"enough")
            elif message.type is aiohttp.WSMsgType.TEXT:
                await socket.send_str(message.data)
            else:
                await socket.send_bytes(message.data)
        return socket

    async with serving({"/{tail:.*}": echo}) as url:
        yield url


@pytest.mark.parametrize("path", ["/plain", "/deflate"])
async def test_42_a_real_websocket(start_proxy: StartProxy, echo_url: str, path: str) -> None:
    """Messages, sub-protocol, compression and close code are those of the server."""
    proxy = await start_proxy(upstream=echo_url)
    async with aiohttp.ClientSession() as session:
        socket = await session.ws_connect(
            f"{proxy.app.proxy_url}{path}", protocols=("a", "b"), compress=15
        )
        assert socket.protocol == "b"
        assert bool(socket.compress) == (path == "/deflate")
        for text in ("hi", "\u00e9" * 70_000):
            await socket.send_str(text)
            assert await socket.receive_str() == text
        await socket.send_bytes(CHAOS)
        assert await socket.receive_bytes() == CHAOS
        await socket.send_str("close")
        message = await socket.receive()
        assert (message.data, message.extra) == (4001, "enough")
    await proxy.idle()


async def test_42_a_declined_websocket(proxy: RunningProxy) -> None:
    """An upgrade that the server declines is a plain exchange, also for what follows it."""
    handshake = get_request(
        b"/ws", b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Key: a"
    )
    client, server = await proxy.begin(handshake + get_request(b"/1") + get_request(b"/2"))
    answers = []
    for target, body in ((b"/ws", b"426"), (b"/1", b"1"), (b"/2", b"2")):
        head, _ = await server.request()
        wishes = [b"Sec-WebSocket-Key: a", b"Connection: Upgrade", b"Upgrade: websocket"]
        assert head == get_request(target, *(wishes if target == b"/ws" else []))
        server.send(sized(body))
        answers.append((await client.answer()).body)
    client.send(get_request(b"/3"))
    await server.request()

    assert answers == [b"426", b"1", b"2"]


async def test_43_pipelined_requests_are_answered_in_order(proxy: RunningProxy) -> None:
    """Requests that are sent together are answered in order, on one connection to the upstream."""
    requests = get_request(b"/1") + post(b"{}", path=b"/2") + get_request(b"/3")
    client, server = await proxy.begin(requests)
    for i in (b"1", b"2", b"3"):
        head, _ = await server.request()
        assert head.split(b" ")[1] == b"/" + i
        assert not server.received
        server.send(sized(i))
    bodies = [(await client.answer()).body for _ in range(3)]

    assert bodies == [b"1", b"2", b"3"]
    assert len(proxy.upstream.peers) == 1
