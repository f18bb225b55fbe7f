"""TLS on both sides: real certificates, real clients, and nothing else changes."""

from __future__ import annotations

import asyncio
import os
import random
import socket
import ssl
from contextlib import asynccontextmanager
from hashlib import sha256
from time import monotonic, monotonic_ns
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
import structlog

from goodput_proxy import tls
from goodput_proxy.cli import main
from goodput_proxy.settings import ConfigError
from tests.certificates import Mount, authority, client_context, issue, server_context
from tests.conftest import require_program
from tests.integration.fake_upstream import Ending, FakeUpstream, connect
from tests.integration.harness import (
    DONE,
    FINISH,
    LAST_CHUNK,
    SSE_HEAD,
    chunk,
    get,
    get_request,
    post,
    sized,
    token,
)
from tests.waiting import PATIENCE_S, eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.integration.conftest import StartProxy
    from tests.integration.fake_upstream import Peer
    from tests.integration.harness import RunningProxy

PATIENT = {"slo": {"ttft": "60s", "itl": "60s"}}
NOTICED_WITHIN_NS = 100 * 10**6
HANDSHAKE = b"GET /tunnel HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
SWITCH = b"HTTP/1.1 101 Go\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


@pytest.fixture
def mount(tmp_path: Path) -> Mount:
    """Return a mounted secret."""
    return Mount(tmp_path / "tls", issue())


@asynccontextmanager
async def tls_upstream(context: ssl.SSLContext) -> AsyncIterator[FakeUpstream]:
    """Run an upstream with TLS."""
    upstream = FakeUpstream()
    await upstream.start(tls=context)
    yield upstream
    await upstream.stop()


async def start_both(
    start_proxy: StartProxy, mount: Mount, upstream: FakeUpstream, **settings: Any
) -> RunningProxy:
    """Start a proxy that speaks TLS on both sides; only its upstream is named by hand."""
    proxy = await start_proxy(
        upstream=f"https://localhost:{upstream.port}",
        upstream_tls={"ca": str(mount.path("ca.crt"))},
        listen_tls=mount.settings,
        **PATIENT | settings,
    )
    proxy.upstream = upstream
    proxy.client_tls = client_context()
    return proxy


def serial(certificate: Any) -> int:
    """Return the serial number of a certificate as a client sees it."""
    return int(certificate["serialNumber"], 16)


async def reloaded(proxy: RunningProxy, use: str) -> None:
    """Wait until files have been read again."""
    labels = {"use": use, "result": "ok"}
    sample = proxy.app.metrics.registry.get_sample_value
    await eventually(lambda: sample("goodput_tls_reloads_total", labels), "a reload")


def hang_up(peer: Peer) -> None:
    """Let a connection's TCP end without a word of TLS."""
    with socket.socket(fileno=os.dup(peer.transport.get_extra_info("socket").fileno())) as end:
        end.shutdown(socket.SHUT_WR)


# -- the listener


async def test_clients_of_other_makes(start_proxy: StartProxy, mount: Mount) -> None:
    """curl, openssl and aiohttp are served, with HTTP/1.1 even if they offer more."""
    proxy = await start_proxy(listen_tls=mount.settings)

    async def answer() -> None:
        server = await proxy.upstream.accept()
        for _ in range(3):
            head, _ = await server.request()
            assert b"Host: localhost" in head
            server.send(sized(b"hello"))

    answering = asyncio.create_task(answer())
    url = f"https://localhost:{proxy.port}/x"
    curl = [require_program("curl"), "--silent", "--http2", "--cacert", str(mount.path("ca.crt"))]
    assert await run(*curl, "--write-out", "%{http_version}", url) == b"hello1.1"
    async with aiohttp.ClientSession() as session, session.get(url, ssl=client_context()) as got:
        assert await got.read() == b"hello"
    s_client = [require_program("openssl"), "s_client", "-quiet", "-verify_return_error", "-CAfile"]
    s_client += [str(mount.path("ca.crt")), "-alpn", "h2,http/1.1", "-noservername", "-connect"]
    request = get_request(b"/x", b"Connection: close").replace(b"Host: x", b"Host: localhost")
    assert (await run(*s_client, f"localhost:{proxy.port}", stdin=request)).endswith(
        b"\r\n\r\nhello"
    )
    await answering


async def run(*command: str, stdin: bytes = b"") -> bytes:
    """Run a client to its end; return what it wrote."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(stdin)
    await process.stdin.drain()
    async with asyncio.timeout(PATIENCE_S):
        out = await process.stdout.read()
        process.stdin.close()
        assert await process.wait() == 0, out
    return out


async def ask(proxy: RunningProxy) -> None:
    """Make a request and wait for its answer."""
    client = await proxy.connect()
    client.send(get_request())
    await client.answer()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_client_certificates(
    start_proxy: StartProxy, mount: Mount, upstream: FakeUpstream, version: ssl.TLSVersion
) -> None:
    """With `client_ca` only clients with a certificate are served; others reach nothing."""
    stranger = authority("another")
    proxy = await start_proxy(listen_tls=mount.settings | {"client_ca": str(mount.path("ca.crt"))})
    for leaf in (None, issue("me", by=stranger)):
        context = client_context(leaf)
        context.maximum_version = version
        proxy.client_tls = context
        with pytest.raises((OSError, AssertionError)):  # TLS 1.3 tells clients when they read
            await ask(proxy)
    assert upstream.peers == []
    proxy.client_tls = client_context(issue("me"))
    proxy.client_tls.maximum_version = version
    _, answer = await proxy.exchange(get_request(), sized(b"hello"))

    assert answer.body == b"hello"


async def test_renewal_drops_nothing(
    start_proxy: StartProxy, mount: Mount, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A swapped secret is that of the next handshake; streams and connections go on."""
    monkeypatch.setattr(tls, "LOOK_S", 0.02)
    proxy = await start_proxy(listen_tls=mount.settings, **PATIENT)
    proxy.client_tls = client_context()
    client, server = await proxy.begin(post(b"{}"))
    await server.request()
    server.send(SSE_HEAD, chunk(token()))
    await client.until(rb"\n\n")
    old = serial(client.transport.get_extra_info("peercert"))
    mount.swap(issue())
    await reloaded(proxy, "listen_tls")
    new = await proxy.connect()
    assert serial(new.transport.get_extra_info("peercert")) != old
    server.send(chunk(token()), chunk(FINISH + DONE), LAST_CHUNK)
    assert (await client.answer()).complete
    client.send(get_request())  # and the connection goes on as well
    await server.request()
    server.send(sized(b"hello"))

    assert (await client.answer()).body == b"hello"
    samples = await proxy.samples()
    assert samples.verdicts() == {("good", ""): 1}
    assert samples.total("goodput_tls_reloads_total", use="listen_tls", result="ok") == 1


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_an_authority_that_is_taken_away(
    start_proxy: StartProxy,
    mount: Mount,
    monkeypatch: pytest.MonkeyPatch,
    version: ssl.TLSVersion,
) -> None:
    """A client whose authority is no longer believed is refused, also with an old session."""
    monkeypatch.setattr(tls, "LOOK_S", 0.02)
    proxy = await start_proxy(listen_tls=mount.settings | {"client_ca": str(mount.path("ca.crt"))})

    async def answer() -> None:
        server = await proxy.upstream.accept()
        for _ in range(2):
            await server.request()
            server.send(sized(b"hello"))

    answering = asyncio.create_task(answer())
    context = client_context(issue("me"))
    context.maximum_version = version

    def ask(session: ssl.SSLSession | None) -> tuple[ssl.SSLSession | None, bool]:
        """Make a request with the blocking client of the standard library."""
        with (
            socket.create_connection(("127.0.0.1", proxy.port), PATIENCE_S) as sock,
            context.wrap_socket(sock, server_hostname="localhost", session=session) as client,
        ):
            client.sendall(get_request())
            answer = b""
            while not answer.endswith(b"hello"):
                piece = client.recv(1000)
                if not piece:
                    raise OSError("EOF")
                answer += piece
            return client.session, bool(client.session_reused)

    session, _ = await asyncio.to_thread(ask, None)
    _, resumed = await asyncio.to_thread(ask, session)
    assert resumed
    mount.swap(issue(), ca=authority("another"))
    await reloaded(proxy, "listen_tls")
    with pytest.raises(OSError, match=r"alert|refused|reset|EOF"):
        await asyncio.to_thread(ask, session)
    await answering


async def test_a_stalled_handshake(start_proxy: StartProxy, mount: Mount) -> None:
    """Who connects and says nothing, or half of it, is closed at the handshake's own timeout."""
    proxy = await start_proxy(listen_tls=mount.settings, timeouts={"tls_handshake": "200ms"})
    begin = monotonic()
    for early in (b"", b"\x16\x03\x01\x02\x00\x01"):
        client = await connect(proxy.port)
        client.send(early)
        await client.ended()
        assert not client.received
        client.close()
    assert 0.4 <= monotonic() - begin < PATIENCE_S
    assert proxy.connections == 0


async def test_plain_http_on_the_tls_port(start_proxy: StartProxy, mount: Mount) -> None:
    """Nothing is served without TLS, and nothing of it is repeated."""
    proxy = await start_proxy(listen_tls=mount.settings)
    client = await connect(proxy.port)
    proxy.clients.append(client)
    client.send(get_request(b"/secret"))
    await client.ended()

    assert b"secret" not in client.received
    assert proxy.upstream.peers == []


async def test_the_admin_listener(start_proxy: StartProxy, mount: Mount) -> None:
    """The admin listener has TLS of its own."""
    proxy = await start_proxy(admin_listen_tls=mount.settings)
    assert proxy.app.admin_url.startswith("https://")
    async with aiohttp.ClientSession() as session:
        url = f"https://localhost:{proxy.admin_port}/metrics"
        async with session.get(url, ssl=client_context()) as got:
            assert got.status == 200
            text = await got.text()
    assert 'goodput_tls_certificate_expiry_timestamp_seconds{use="admin_listen_tls"}' in text
    proxy.client_tls = None  # and the traffic has none
    _, answer = await proxy.exchange(get_request(), sized(b"hello"))
    assert answer.body == b"hello"


# -- the upstream


async def test_the_upstream_is_verified(start_proxy: StartProxy, mount: Mount) -> None:
    """An upstream whose certificate nobody vouches for, or for another name, gets no request."""
    async with tls_upstream(server_context(issue("server.test"))) as upstream:
        for server_name, ca, reached in (
            ("server.test", True, True),
            (None, True, False),
            ("server.test", False, False),
        ):
            options = {"ca": str(mount.path("ca.crt"))} if ca else {}
            options |= {"server_name": server_name} if server_name else {}
            proxy = await start_proxy(
                upstream=f"https://127.0.0.1:{upstream.port}", upstream_tls=options
            )
            ready = await get(proxy.admin_port, "/readyz")
            assert (ready.status == 200) is reached
            assert reached or b"certificate verify failed" in ready.body
            if not reached:
                client = await proxy.connect()
                client.send(post(b"{}"))
                assert (await client.answer()).status == 502
                assert await proxy.verdicts() == {("error", "connect"): 1}
        assert upstream.size == 0


async def test_verification_can_be_switched_off(start_proxy: StartProxy) -> None:
    """A self-signed upstream is reached when that is asked for, loudly."""
    async with tls_upstream(server_context(issue("other", by=authority("another")))) as upstream:
        with structlog.testing.capture_logs() as logs:
            proxy = await start_proxy(
                upstream=f"https://127.0.0.1:{upstream.port}", upstream_tls={"verify": False}
            )
        assert "NOT verified" in str(logs)
        proxy.upstream = upstream
        _, answer = await proxy.exchange(get_request(), sized(b"hello"))

    assert answer.body == b"hello"


async def test_a_certificate_for_the_upstream(
    start_proxy: StartProxy, mount: Mount, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An upstream may want a certificate, and sees a new one on the next connection."""
    monkeypatch.setattr(tls, "LOOK_S", 0.02)
    async with tls_upstream(server_context(client_ca=authority())) as upstream:
        proxy = await start_proxy(
            upstream=f"https://localhost:{upstream.port}",
            upstream_tls={"ca": str(mount.path("ca.crt")), **mount.settings},
        )
        proxy.upstream = upstream
        seen = []
        for _ in range(2):
            client, server = await proxy.begin(get_request())
            seen.append(serial(server.transport.get_extra_info("peercert")))
            server.send(sized(b"hello", b"200 OK", b"Connection: close"))
            assert (await client.answer()).body == b"hello"
            mount.swap(issue())
            await reloaded(proxy, "upstream_tls")

    assert seen[0] != seen[1]


# -- bytes and times


async def test_bytes_both_ways(start_proxy: StartProxy, mount: Mount) -> None:
    """An upload and an answer of megabytes are the same on the other side."""
    there, back = random.Random(1).randbytes(3_000_000), random.Random(2).randbytes(3_000_000)
    async with tls_upstream(server_context()) as upstream:
        proxy = await start_both(start_proxy, mount, upstream)
        client = await proxy.connect()
        pouring = asyncio.create_task(client.pour([post(there, path=b"/x")]))
        server = await upstream.accept()
        _, body = await server.request()
        await pouring
        assert body == there
        framed = [chunk(back[i : i + 7001]) for i in range(0, len(back), 7001)]
        pouring = asyncio.create_task(server.pour([SSE_HEAD, *framed, LAST_CHUNK]))
        answer = await client.answer()
        await pouring

    assert sha256(answer.body).digest() == sha256(back).digest()


async def test_no_token_waits(start_proxy: StartProxy, mount: Mount) -> None:
    """Each token passes before the next one exists, and at once."""
    async with tls_upstream(server_context()) as upstream:
        proxy = await start_both(start_proxy, mount, upstream)
        client, server = await proxy.begin(post(b"{}"))
        server.send(SSE_HEAD)
        await client.until_head()
        client.take()
        took_ns = []
        for i in range(50):
            begin_ns = monotonic_ns()
            server.send(chunk(token(f"{i:02}")))
            await client.until(b'"%02d"' % i)
            took_ns.append(monotonic_ns() - begin_ns)
        server.send(chunk(FINISH + DONE), LAST_CHUNK)
        await client.until(rb"0\r\n\r\n$")

        assert sorted(took_ns)[25] < 20 * 10**6  # a timer would hold them for 40 ms
        assert await proxy.verdicts() == {("good", ""): 1}


@pytest.mark.parametrize("way", ["farewell", "reset", "gone"])
async def test_a_client_that_leaves(start_proxy: StartProxy, mount: Mount, way: str) -> None:
    """The upstream learns at once that a client has left, in whatever manner."""
    async with tls_upstream(server_context()) as upstream:
        proxy = await start_both(start_proxy, mount, upstream)
        client, server = await proxy.begin(post(b"{}"))
        server.send(SSE_HEAD, chunk(token()))
        await client.until(rb"\n\n")
        left_ns = monotonic_ns()
        if way == "farewell":
            client.close()
        elif way == "reset":
            client.reset()
        else:  # a FIN, and no word of TLS
            os_socket = socket.socket(
                fileno=os.dup(client.transport.get_extra_info("socket").fileno())
            )
            os_socket.shutdown(socket.SHUT_WR)
            os_socket.close()
        await server.ended()

        assert server.ended_ns - left_ns < NOTICED_WITHIN_NS
        samples = await proxy.samples()
        assert samples.verdicts() == {("cancelled", "client"): 1}
        assert samples.total("goodput_requests_in_flight") == 0


async def test_a_slow_reader_of_a_server_that_closes(start_proxy: StartProxy, mount: Mount) -> None:
    """What a server sends before it closes arrives, although it closes while nobody reads."""
    async with tls_upstream(server_context()) as upstream:
        proxy = await start_both(start_proxy, mount, upstream)
        client = await proxy.connect(receive_buffer=4096)
        client.send(get_request())
        client.pause()
        server = await upstream.accept()
        await server.request()
        body = random.Random(3).randbytes(8_000_000)
        head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(body)
        pouring = asyncio.create_task(server.pour([head, *split(body, 100_000)]))
        closing = asyncio.create_task(close_behind(server, pouring))
        passed_on = head.replace(b"Connection: close\r\n", b"")
        whole = len(passed_on) + len(body)
        while client.size < whole and client.ending is None:
            client.resume()
            await client.until_size(min(client.size + 1, whole))
            client.pause()
            await asyncio.sleep(0.001)
        client.resume()
        await closing
        answer = await client.answer()

    assert sha256(answer.body).digest() == sha256(body).digest()


async def close_behind(server: Peer, pouring: asyncio.Task[None]) -> None:
    """Close when everything is with the kernel, and wait for no farewell, as most servers do."""
    await pouring
    await server.flush()
    hang_up(server)


def split(data: bytes, size: int) -> list[bytes]:
    """Cut bytes into pieces."""
    return [data[i : i + size] for i in range(0, len(data), size)]


async def test_a_stalled_reader_is_bounded(start_proxy: StartProxy, mount: Mount) -> None:
    """No more than a little waits in the proxy for a client that does not read."""
    async with tls_upstream(server_context()) as upstream:
        proxy = await start_both(start_proxy, mount, upstream)
        client, server = await proxy.begin(get_request())
        client.pause()
        server.send(SSE_HEAD)
        pouring = asyncio.create_task(server.pour([chunk(b"x" * 60_000)] * 1000))
        await eventually(lambda: server._writing_paused, "the server is held up")
        transport: Any = next(iter(proxy.listener.connections)).transport
        held = transport.get_write_buffer_size()
        assert 0 < held <= 512 * 1024
        client.reset()
        await pouring


@pytest.mark.parametrize("farewell", [True, False])
async def test_an_end_that_may_be_forged(
    start_proxy: StartProxy, mount: Mount, *, farewell: bool
) -> None:
    """A body that ends with its connection is whole only if TLS has said so."""
    async with tls_upstream(server_context()) as upstream:
        proxy = await start_both(start_proxy, mount, upstream)
        client, server = await proxy.begin(get_request())
        server.send(b"HTTP/1.1 200 OK\r\n\r\nabc")
        await client.until(rb"abc")
        if farewell:
            server.close()
        else:
            os_socket = socket.socket(
                fileno=os.dup(server.transport.get_extra_info("socket").fileno())
            )
            os_socket.shutdown(socket.SHUT_WR)
            os_socket.close()
        answer = await client.answer()

    assert answer.complete is farewell


async def test_a_cut_answer_without_framing(start_proxy: StartProxy, mount: Mount) -> None:
    """An HTTP/1.0 client sees a reset, and no farewell, when its answer is cut."""
    proxy = await start_proxy(listen_tls=mount.settings)
    proxy.client_tls = client_context()
    client, server = await proxy.begin(get_request(version=b"1.0"))
    server.send(SSE_HEAD, chunk(b"abc"))
    await client.until(rb"abc")
    server.reset()

    assert await client.ended() is Ending.RST


@pytest.mark.parametrize("first", ["client", "server"])
async def test_a_tunnel(start_proxy: StartProxy, mount: Mount, first: str) -> None:
    """Tunnels pass bytes both ways; TLS has no half-close, so one end ends both."""
    proxy = await start_proxy(listen_tls=mount.settings)
    proxy.client_tls = client_context()
    client, server = await proxy.begin(HANDSHAKE)
    await server.request()
    server.send(SWITCH)
    await client.until_head()
    client.take()
    for sender, receiver in ((client, server), (server, client)):
        noise = random.Random(4).randbytes(500_000)
        already = receiver.size
        await sender.pour(split(noise, 50_000))
        await receiver.until_size(already + len(noise))
        assert receiver.take() == noise
    ends = {"client": (client, server), "server": (server, client)}[first]
    ends[0].close()

    await ends[1].ended()
    await proxy.idle()


# -- the command


def test_a_bad_file_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`serve` does not start, `check` says no; both name the setting and the remedy."""
    for command, code in (("serve", 2), ("check", 1)):
        flags = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]
        assert main([command, *flags, "--listen-tls.cert", str(tmp_path)]) == code
        lines = capsys.readouterr().err.splitlines()
        remedy = f"name the file in it, such as {tmp_path}/tls.crt"
        assert lines == [f"goodput-proxy: listen_tls.cert: {tmp_path} is a directory: {remedy}"]


async def test_a_bad_file_leaves_nothing_open(start_proxy: StartProxy, tmp_path: Path) -> None:
    """The error comes before any socket is opened."""
    with pytest.raises(ConfigError, match=r"^listen_tls.cert: cannot read "):
        await start_proxy(listen_tls={"cert": str(tmp_path / "none")})
