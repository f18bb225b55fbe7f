"""Upgrades: from the 101 on, bytes pass both ways as they are, and so do both kinds of end."""

from __future__ import annotations

import asyncio
import random
import re
import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import aiohttp
import pytest
from aiohttp import web

from goodput_proxy.listener import ClientConnection
from tests.conformance.test_flow import BODY_BYTES, MIB, digest, pieces, stalled
from tests.frames import CLOSE, frame
from tests.integration.fake_upstream import Ending, FakeUpstream
from tests.integration.harness import get_request, post, scrape, sized
from tests.streams import load_case
from tests.test_pool import make_certificate
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from tests.integration.conftest import StartProxy
    from tests.integration.fake_upstream import Peer
    from tests.integration.harness import RunningProxy

WISHES = (b"Connection: keep-alive, Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Key: a")
HANDSHAKE = get_request(b"/ws", *WISHES)
SWITCH = (
    b"HTTP/1.1 101 Switching Protocols\r\nUPGRADE: websocket\r\nX-Odd: \xe9\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Accept: b\r\n\r\n"
)
CHAOS = random.Random(5).randbytes(300_000)


async def open_tunnel(
    proxy: RunningProxy, early: bytes = b"", behind: bytes = b"", handshake: bytes = HANDSHAKE
) -> list[Peer]:
    """Return client and server of a tunnel, with what was sent early on its way."""
    client, server = await proxy.begin(handshake + early)
    await server.request()
    server.send(SWITCH + behind)
    await client.until(rb"\r\n\r\n")
    head = client.take()
    assert head.startswith(SWITCH)
    client.received += head[len(SWITCH) :]
    return [client, server]


async def test_the_request_and_the_101_pass_with_what_makes_them_an_upgrade(
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
async def test_bytes_pass_as_they_are(proxy: RunningProxy, direction: int) -> None:
    """Whatever is sent arrives, either way."""
    ends = await open_tunnel(proxy)
    sender, receiver = ends[direction], ends[1 - direction]
    await sender.pour(CHAOS[i : i + 1000] for i in range(0, len(CHAOS), 1000))
    await receiver.until_size(receiver.size - len(receiver.received) + len(CHAOS))

    assert receiver.take() == CHAOS


async def test_both_ways_at_once(proxy: RunningProxy) -> None:
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


async def test_what_was_sent_early_is_not_lost(proxy: RunningProxy) -> None:
    """Neither what a client sends behind its request, nor a server behind its 101."""
    client, server = await open_tunnel(proxy, b"from client " * 9000, b"from server")
    await client.until(rb"from server$")
    await server.until(rb"(from client ){9000}$")
    client.send(b"more")
    await server.until(rb"client more$")


@pytest.mark.parametrize("first", [0, 1])
async def test_a_half_close_passes_and_the_other_way_goes_on(
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
async def test_a_reset_passes(proxy: RunningProxy, first: int) -> None:
    """A side that breaks off is seen to have broken off."""
    ends = await open_tunnel(proxy)
    ends[first].reset()

    assert await ends[1 - first].ended() is Ending.RST
    await proxy.idle()


def held_bytes(proxy: RunningProxy) -> int:
    """Return what the only tunnel of a proxy holds for either side."""
    assert proxy.app._listener is not None
    (connection,) = proxy.app._listener.connections
    assert isinstance(connection, ClientConnection)
    assert connection._relay is not None
    tunnel = connection._relay.tunnel
    assert tunnel is not None
    pumps = (tunnel._client, tunnel._server)
    return sum(pump.transport.get_write_buffer_size() for pump in pumps)


@pytest.mark.parametrize("first", [0, 1])
async def test_a_side_that_does_not_read_stops_the_other(proxy: RunningProxy, first: int) -> None:
    """What one side does not take is not piled up; later it arrives, all of it."""
    ends = await open_tunnel(proxy)
    sender, receiver = ends[first], ends[1 - first]
    receiver.keep = False
    receiver.pause()
    pouring = asyncio.create_task(sender.pour(pieces(BODY_BYTES)))
    await stalled(lambda: sender.wrote)
    # Not what was sent: Linux may hold 36 MiB of each connection by itself.
    assert held_bytes(proxy) < MIB
    received = receiver.size
    receiver.resume()
    await pouring
    await receiver.until_size(received + BODY_BYTES)
    assert receiver.digest.hexdigest() == digest(pieces(BODY_BYTES))


async def test_a_tunnel_is_counted_and_its_connection_not_used_again(
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


async def test_a_tunnel_ends_with_the_drain(start_proxy: StartProxy) -> None:
    """At the deadline both sides see the end."""
    proxy = await start_proxy()
    client, server = await open_tunnel(proxy)
    await proxy.app.stop()

    await client.ended()
    await server.ended()


async def test_an_idle_tunnel_is_closed(start_proxy: StartProxy) -> None:
    """Nothing from either side for long enough ends it."""
    proxy = await start_proxy(timeouts={"tunnel": "50ms"})
    client, server = await open_tunnel(proxy)

    assert await client.ended() is Ending.FIN
    assert await server.ended() is Ending.FIN
    await proxy.idle()


@pytest.mark.parametrize(
    "answer",
    [
        SWITCH.replace(b"websocket", b"other"),
        SWITCH.replace(b"UPGRADE: websocket\r\n", b""),
    ],
)
async def test_another_protocol_than_was_asked_for(proxy: RunningProxy, answer: bytes) -> None:
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
        (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: a, H2C", b"HTTP2-Settings: x"),
        (b"Upgrade: websocket",),
        (b"Connection: Upgrade",),
        (b"Connection: Upgrade", b"Upgrade:"),
    ],
)
async def test_what_is_not_asked_for_in_full_is_stripped(
    proxy: RunningProxy, wishes: tuple[bytes, ...]
) -> None:
    """HTTP/2 over an upgrade and half a wish are plain requests, also for what follows them."""
    client, server = await proxy.begin(get_request(b"/1", *wishes) + get_request(b"/2"))
    for target in (b"/1", b"/2"):
        head, _ = await server.request()
        assert head == get_request(target)
        server.send(sized(target))
        assert (await client.answer()).body == target


async def test_a_request_with_a_body_is_not_upgraded(proxy: RunningProxy) -> None:
    """Where the protocols change would depend on what arrives when."""
    client, server = await proxy.begin(post(b"{}", *WISHES, path=b"/ws"))
    head, body = await server.request()
    server.send(SWITCH)

    assert (head, body) == (
        post(b"", b"Sec-WebSocket-Key: a", path=b"/ws").replace(b"Length: 0", b"Length: 2"),
        b"{}",
    )
    assert (await client.answer()).status == 502


async def test_an_inference_path_may_become_a_tunnel(proxy: RunningProxy) -> None:
    """It is no inference then, and no failure of one."""
    bodiless = HANDSHAKE.replace(b"GET /ws", b"POST /v1/chat/completions")
    client, server = await proxy.begin(bodiless)
    await server.request()
    server.send(SWITCH)
    await client.until(rb"\r\n\r\n")
    client.reset()
    samples = await proxy.samples()

    assert samples.total("goodput_passthrough_requests_total", kind="tunnel") == 1
    assert samples.verdicts() == {}
    assert samples.total("goodput_requests_in_flight") == 0


async def test_other_protocols(proxy: RunningProxy) -> None:
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


async def test_a_declined_wish_for_another_protocol(proxy: RunningProxy) -> None:
    """What was held back behind it are requests, after all."""
    wish = get_request(b"/1", b"Connection: upgrade", b"Upgrade: other")
    client, server = await proxy.begin(wish + get_request(b"/2"))
    client.send(get_request(b"/3"))
    for target in (b"/1", b"/2", b"/3"):
        head, _ = await server.request()
        assert head.startswith(b"GET " + target)
        server.send(sized(target))
        assert (await client.answer()).body == target


async def test_an_upload_behind_a_declined_wish(proxy: RunningProxy) -> None:
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


async def test_a_client_that_leaves_before_the_101(proxy: RunningProxy) -> None:
    """Its server is told at once."""
    client, server = await proxy.begin(HANDSHAKE + b"early")
    client.close()

    await server.ended()
    samples = await proxy.samples()
    assert samples.total("goodput_passthrough_requests_total", kind="other") == 1


async def test_a_side_that_is_gone_does_not_hold_the_other(start_proxy: StartProxy) -> None:
    """What a stalled client does not take within the bound is given up, with its connection."""
    proxy = await start_proxy(timeouts={"tunnel": "200ms"})
    client, server = await open_tunnel(proxy)
    client.pause()
    pouring = asyncio.create_task(server.pour(pieces(BODY_BYTES)))
    await server.ended()
    await pouring

    await eventually(lambda: not proxy.connections, "no client's connection")


@asynccontextmanager
async def serving(
    handlers: dict[str, Callable[[web.Request], Awaitable[web.WebSocketResponse]]],
) -> AsyncIterator[str]:
    """Run a server of WebSockets, by path."""
    application = web.Application()
    for path, handler in handlers.items():
        application.router.add_get(path, handler)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


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
async def test_a_real_websocket(start_proxy: StartProxy, echo_url: str, path: str) -> None:
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


@pytest.mark.parametrize("first", [0, 1])
async def test_tls(
    start_proxy: StartProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: int
) -> None:
    """To an upstream behind TLS bytes pass as well; it has no half-close, so an end ends both."""
    certificate = make_certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    upstream = FakeUpstream()
    await upstream.start(tls=context)
    proxy = await start_proxy(upstream=f"https://localhost:{upstream.port}")
    client = await proxy.connect()
    client.send(HANDSHAKE + b"early")
    server = await upstream.accept()
    await server.request()
    server.send(SWITCH + CHAOS)
    await server.until(rb"early$")
    await client.until_size(len(SWITCH) + len(CHAOS))
    assert client.take() == SWITCH + CHAOS
    server.take()
    already = server.size
    await client.pour([CHAOS])
    await server.until_size(already + len(CHAOS))
    assert server.take() == CHAOS
    if first:
        server.close()
    else:
        client.finish()
        await server.ended()

    assert await client.ended() is Ending.FIN
    await proxy.idle()
    await upstream.stop()


@pytest.mark.parametrize("compress", [0, 15])
async def test_a_real_realtime_client(start_proxy: StartProxy, compress: int) -> None:
    """Utterances of ordinary WebSocket libraries are measured, compressed or not."""

    async def transcribe(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(compress=bool(compress))
        await socket.prepare(request)
        await socket.send_json({"type": "session.created"})
        async for message in socket:
            if message.json()["type"] == "input_audio_buffer.commit":
                for text in ("", "Good", " night"):
                    await socket.send_json({"type": "transcription.delta", "delta": text})
                usage = {"prompt_tokens": 80, "completion_tokens": 4}
                await socket.send_json({"type": "transcription.done", "usage": usage})
        return socket

    async with serving({"/v1/realtime": transcribe}) as url:
        proxy = await start_proxy(upstream=url)
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(f"{proxy.app.proxy_url}/v1/realtime", compress=compress) as socket,
        ):
            assert bool(socket.compress) == bool(compress)
            await socket.receive_json()
            await socket.send_json({"type": "session.update", "model": "m"})
            for _ in range(2):
                for _ in range(3):
                    audio = {"type": "input_audio_buffer.append", "audio": "AAAA" * 10_000}
                    await socket.send_json(audio)
                await socket.send_json({"type": "input_audio_buffer.commit"})
                while (await socket.receive_json())["type"] != "transcription.done":
                    pass
        samples = await proxy.samples()

    assert samples.verdicts(api="realtime", model="m") == {("good", ""): 2}
    assert samples.total("goodput_output_tokens_total", model="m") == 8
    assert samples.total("goodput_input_tokens_total", model="m") == 160
    assert samples.total("goodput_tap_errors_total") == 0
    assert samples.total("goodput_passthrough_requests_total") == 0


async def test_realtime_end_to_end(proxy: RunningProxy) -> None:
    """The frames of the corpus pass as they are, and their utterance is counted as it says."""
    case = load_case("vllm.realtime.ws_frames.ndjson")
    client, server = await proxy.begin(get_request(b"/v1/realtime?model=m", *WISHES))
    await server.request()
    server.send(SWITCH)
    await client.until(rb"\r\n\r\n")
    client.take()
    commit = frame(b'{"type":"input_audio_buffer.commit"}', mask=b"mask")
    client.send(commit)
    await server.until(re.escape(commit) + b"$")
    frames = b"".join(frame(line) for line in case.body.splitlines())
    server.send(frames)
    await client.until_size(len(SWITCH) + len(frames))
    samples = await scrape(proxy.admin_port)

    assert client.take() == frames
    assert samples.verdicts(api="realtime", model="m") == {("good", ""): 1}
    tokens = samples.total("goodput_output_tokens_total")
    assert tokens == case.expected["output_tokens"]
    assert samples.total("goodput_tap_errors_total") == 0
    client.close()
    await server.ended()
    server.close()
    samples = await proxy.samples()
    assert samples.verdicts() == {("good", ""): 1}
    assert samples.total("goodput_passthrough_requests_total") == 0


COMMIT = frame(b'{"type":"input_audio_buffer.commit"}', mask=b"mask")
HEARD = frame(b'{"type":"transcription.delta","delta":"a"}')
BYE = frame(b"\x03\xe8", CLOSE)
LEFT, CUT = ("cancelled", "client"), ("error", "truncated")


@pytest.mark.parametrize(
    ("client_first", "how", "verdict"),
    [
        (True, "fin", LEFT),
        (True, "rst", LEFT),
        (True, "close frame", LEFT),
        (False, "fin", CUT),
        (False, "rst", CUT),
        (False, "close frame", CUT),
    ],
)
async def test_who_ends_an_utterance(
    proxy: RunningProxy,
    client_first: bool,  # noqa: FBT001 -- a test's parameter
    how: str,
    verdict: tuple[str, str],
) -> None:
    """An unfinished answer is cancelled when the client went first, and else cut by the server."""
    handshake = HANDSHAKE.replace(b"/ws", b"/v1/realtime")
    client, server = await open_tunnel(proxy, handshake=handshake)
    client.send(COMMIT)
    await server.until(re.escape(COMMIT))
    server.send(HEARD)
    await client.until(re.escape(HEARD))
    first, second = (client, server) if client_first else (server, client)
    if how == "close frame":  # and then it is the server who closes the connection
        first.send(BYE)
        await second.until(re.escape(BYE))
        second.send(BYE)
        await first.until(re.escape(BYE))
        server.close()
        await client.ended()
        client.close()
    elif how == "fin":
        first.finish()
        await second.ended()
        second.close()
    else:
        first.reset()

    assert await proxy.verdicts() == {verdict: 1}


async def test_a_real_client_leaves_in_the_middle(start_proxy: StartProxy) -> None:
    """It closes as the protocol says, and the server answers as the protocol says."""

    async def talk(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.receive()
        await socket.send_json({"type": "response.created"})
        await socket.send_json({"type": "response.output_text.delta", "delta": "a"})
        await socket.receive()
        return socket

    async with serving({"/v1/realtime": talk}) as url, aiohttp.ClientSession() as session:
        proxy = await start_proxy(upstream=url)
        socket = await session.ws_connect(f"{proxy.app.proxy_url}/v1/realtime?model=m")
        await socket.send_json({"type": "response.create"})
        await socket.receive()
        await socket.receive()
        await socket.close()

        assert (await proxy.samples()).verdicts(api="realtime") == {LEFT: 1}
