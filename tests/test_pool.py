"""Connections to the upstream: which one is used, for how long it is kept, how dialling fails."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from goodput_proxy.address import Listen, Upstream
from goodput_proxy.pool import UpstreamError, UpstreamPool
from goodput_proxy.record import End
from tests.conftest import require_program
from tests.fakes import RecordingSink
from tests.integration.fake_upstream import FakeUpstream
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from goodput_proxy.upstream import UpstreamConnection

SIZED = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


class Bench:
    """A pool and what it counts."""

    def __init__(self, upstream: Upstream, **options: Any) -> None:
        self.failures: list[str] = []
        values = {
            "connect_s": 5.0,
            "idle_s": 600.0,
            "keepalive_s": 4.0,
            "max_age_s": 60.0,
            "max_head_bytes": 1000,
        }
        self.pool = UpstreamPool(upstream, self.failures.append, **{**values, **options})

    async def exchange(self, server: FakeUpstream) -> UpstreamConnection:
        """Run an exchange and return its connection, which is the pool's again."""
        connection = await self.pool.acquire()
        await answer(connection, server)
        self.pool.release(connection)
        return connection


async def answer(connection: UpstreamConnection, server: FakeUpstream) -> None:
    """Run an exchange on a connection."""
    sink = RecordingSink()
    connection.begin(sink, "GET")
    connection.write(b"GET / HTTP/1.1\r\n\r\n")
    connection.request_sent = True
    (peer,) = [peer for peer in server.peers if peer.ending is None][-1:] or [await server.accept()]
    await peer.until_head()
    peer.take()
    peer.send(SIZED)
    await eventually(lambda: sink.calls[-1:] == [("end", [])])


@asynccontextmanager
async def serving(**options: Any) -> AsyncIterator[FakeUpstream]:
    """Run an upstream."""
    server = FakeUpstream()
    await server.start(**options)
    try:
        yield server
    finally:  # uvloop hangs when it is closed with a server that listens
        await server.stop()


async def test_newest_first() -> None:
    """Idle connections are used again, the newest first, so that the others may expire."""
    async with serving() as server:
        bench = Bench(Upstream("127.0.0.1", server.port))
        first, second = [await bench.pool.acquire() for _ in range(2)]
        assert first is not second
        bench.pool.release(first)
        bench.pool.release(second)
        assert await bench.pool.acquire() is second
        assert await bench.pool.acquire() is first
        assert await bench.pool.acquire() not in {first, second}
        first.abort()
        second.abort()
        bench.pool.close()


async def test_used_connection() -> None:
    """A connection whose exchange is complete serves the next one."""
    async with serving() as server:
        bench = Bench(Upstream("127.0.0.1", server.port))
        first = await bench.exchange(server)
        assert await bench.exchange(server) is first
        bench.pool.close()


async def test_unfinished_exchange() -> None:
    """A connection that is given back in the middle of an exchange is closed."""
    async with serving() as server:
        bench = Bench(Upstream("127.0.0.1", server.port))
        connection = await bench.pool.acquire()
        connection.begin(RecordingSink(), "GET")
        bench.pool.release(connection)
        await (await server.accept()).ended()
        assert await bench.pool.acquire() is not connection
        assert bench.failures == []


async def test_closed_by_the_server() -> None:
    """A connection that the server has closed while it was idle is not used again."""
    async with serving() as server:
        bench = Bench(Upstream("127.0.0.1", server.port))
        connection = await bench.exchange(server)
        server.peers[0].close()
        await eventually(lambda: not connection.usable)
        assert await bench.exchange(server) is not connection
        bench.pool.close()


async def test_age() -> None:
    """A connection that is old enough is closed when it is given back."""
    async with serving() as server:
        bench = Bench(Upstream("127.0.0.1", server.port), max_age_s=0.05)
        connection = await bench.exchange(server)
        assert await bench.pool.acquire() is connection
        await asyncio.sleep(0.06)
        bench.pool.release(connection)
        await server.peers[0].ended()
        assert await bench.exchange(server) is not connection
        bench.pool.close()


async def test_expiry() -> None:
    """An idle connection is closed when its time is over, and not used if that comes late."""
    async with serving() as server:
        bench = Bench(Upstream("127.0.0.1", server.port), keepalive_s=0.05)
        old = await bench.pool.acquire()
        young = await bench.pool.acquire()
        bench.pool.release(old)
        await asyncio.sleep(0.03)
        bench.pool.release(young)
        first, second = await server.accept(), await server.accept()
        await first.ended()
        assert second.ending is None
        await second.ended()
        bench.pool.release(late := await bench.pool.acquire())
        late.idle_since_s -= 1.0
        assert await bench.pool.acquire() is not late
        bench.pool.close()


async def test_close() -> None:
    """Closing the pool closes what is idle, and can be done twice."""
    async with serving() as server:
        bench = Bench(Upstream("127.0.0.1", server.port))
        await bench.exchange(server)
        bench.pool.close()
        bench.pool.close()
        await server.peers[0].ended()


async def test_refused() -> None:
    """A port where nobody listens is a failure of its own kind."""
    async with serving() as server:
        port = server.port
    bench = Bench(Upstream("127.0.0.1", port))
    with pytest.raises(UpstreamError) as caught:
        await bench.pool.acquire()

    assert End.CONNECT_FAILED is caught.value.end
    assert caught.value.reason
    assert bench.failures == ["connect"]


@pytest.mark.parametrize("host", ["nobody.invalid", "", "a" * 70])
async def test_unknown_host(host: str) -> None:
    """A name that cannot be resolved is a failed connection."""
    bench = Bench(Upstream(host or "0.0.0.0.0", 9))
    with pytest.raises(UpstreamError) as caught:
        await bench.pool.acquire()

    assert End.CONNECT_FAILED is caught.value.end
    assert bench.failures == ["connect"]


async def test_the_proxy_itself() -> None:
    """A connection that leads to one of our own listeners is closed, and nothing is sent."""
    async with serving() as server:
        bench = Bench(Upstream("127.0.0.1", server.port))
        bench.pool.own = [Listen("127.0.0.2", server.port)]
        bench.pool.release(await bench.exchange(server))
        bench.pool.close()
        for host in ("127.0.0.1", "0.0.0.0"):
            bench.pool.own = [Listen("::", 1), Listen(host, server.port)]
            with pytest.raises(UpstreamError, match="it is this proxy itself") as caught:
                await bench.pool.acquire()
            assert caught.value.end is End.CONNECT_FAILED
        await server.peers[-1].ended()
        assert server.peers[-1].size == 0
    assert bench.failures == ["connect", "connect"]


async def test_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that does not come about in time is given up."""
    bench = Bench(Upstream("127.0.0.1", 9), connect_s=0.01)

    async def never() -> None:
        await asyncio.sleep(60)

    monkeypatch.setattr(bench.pool, "_open", never)
    with pytest.raises(UpstreamError) as caught:
        await bench.pool.acquire()

    assert End.TIMED_OUT is caught.value.end
    assert bench.failures == ["connect_timeout"]


async def test_unix_socket(tmp_path: Path) -> None:
    """An upstream may be a UNIX socket."""
    path = str(tmp_path / "socket")
    async with serving(path=path) as server:
        bench = Bench(Upstream(path=path))
        first = await bench.exchange(server)
        assert await bench.exchange(server) is first
        bench.pool.close()


async def test_missing_unix_socket(tmp_path: Path) -> None:
    """A UNIX socket that does not exist is a failed connection."""
    bench = Bench(Upstream(path=str(tmp_path / "socket")))
    with pytest.raises(UpstreamError) as caught:
        await bench.pool.acquire()

    assert End.CONNECT_FAILED is caught.value.end


async def test_tls(tmp_path: Path) -> None:
    """An `https://` upstream is spoken to over TLS, by a name that its certificate must bear."""
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate = make_certificate(tmp_path)
    server_side.load_cert_chain(certificate)
    trusting = ssl.create_default_context(cafile=str(certificate))
    async with serving(tls=server_side) as server:
        bench = Bench(Upstream("localhost", server.port, tls=True), tls=trusting)
        first = await bench.exchange(server)
        assert await bench.exchange(server) is first
        bench.pool.close()
        for upstream in (
            Bench(Upstream("127.0.0.1", server.port, tls=True), tls=trusting),
            Bench(Upstream("localhost", server.port, tls=True), tls=ssl.create_default_context()),
        ):
            with pytest.raises(UpstreamError) as caught:
                await upstream.pool.acquire()
            assert End.CONNECT_FAILED is caught.value.end
            assert upstream.failures == ["connect"]


def make_certificate(folder: Path) -> Path:
    """Return a file with a key and a certificate for `localhost` that it has signed itself."""
    path = folder / "both.pem"
    subprocess.run(
        [
            require_program("openssl"),
            *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
            *("-nodes", "-days", "1", "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=DNS:localhost", "-keyout", str(path)),
            *("-out", str(folder / "certificate.pem")),
        ],
        check=True,
        capture_output=True,
    )
    path.write_bytes(path.read_bytes() + (folder / "certificate.pem").read_bytes())
    return path
