"""Upgrades: from the 101 on, bytes pass both ways as they are, and so do both kinds of end."""

from __future__ import annotations

import asyncio
import re
import ssl
from typing import TYPE_CHECKING

import aiohttp
import pytest
from aiohttp import web

from goodput_proxy.listener import ClientConnection
from tests.conformance.test_flow import BODY_BYTES, MIB, digest, pieces, stalled
from tests.frames import CLOSE, frame
from tests.integration.fake_upstream import Ending, FakeUpstream
from tests.integration.harness import get_request, scrape
from tests.integration.tunnels import CHAOS, HANDSHAKE, SWITCH, WISHES, open_tunnel, serving
from tests.streams import load_case
from tests.test_pool import make_certificate
from tests.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.conftest import StartProxy
    from tests.integration.harness import RunningProxy


def held_bytes(proxy: RunningProxy) -> int:
    """Return what the only tunnel of a proxy holds for either side."""
    (connection,) = proxy.listener.connections
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


async def test_an_idle_tunnel_is_closed(start_proxy: StartProxy) -> None:
    """Nothing from either side for long enough ends it."""
    proxy = await start_proxy(timeouts={"tunnel": "50ms"})
    client, server = await open_tunnel(proxy)

    assert await client.ended() is Ending.FIN
    assert await server.ended() is Ending.FIN
    await proxy.idle()


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
