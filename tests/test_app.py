"""The process: what is open when, and in which order it stops."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import sys
import weakref
from contextlib import asynccontextmanager, suppress
from time import monotonic
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from goodput_proxy import traffic as traffic_module
from goodput_proxy.app import App
from goodput_proxy.settings import ConfigError, Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
TOKEN = b'data: {"choices": [{"index": 0, "delta": {"content": "a"}}]}\n\n'
DONE = b"data: [DONE]\n\n"
ASK = b'{"model": "m", "stream": true}'
REQUEST = b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%b" % (
    len(ASK),
    ASK,
)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the settings of whoever runs the tests."""
    for name in os.environ:
        if name.upper().startswith("GOODPUT_"):
            monkeypatch.delenv(name)


@pytest.fixture
def process_as_it_was() -> Iterator[None]:
    """Undo what `run` does to the interpreter."""
    interval = sys.getswitchinterval()
    yield
    gc.unfreeze()
    sys.setswitchinterval(interval)


class Upstream:
    """An inference server that sends one token and finishes when it is told to."""

    def __init__(self) -> None:
        self.url = ""
        self.finish = asyncio.Event()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        """Stop listening."""
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(len(ASK))
            writer.write(HEAD + b"%x\r\n%b\r\n" % (len(TOKEN), TOKEN))
            await self.finish.wait()
            writer.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(DONE), DONE))
        writer.close()


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    """Return an upstream that listens."""
    upstream = Upstream()
    await upstream.start()
    yield upstream
    upstream.finish.set()
    await upstream.stop()


def make_app(*arguments: str) -> App:
    """Return an application that takes any free ports."""
    return App(Settings.load(["--listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0", *arguments]))


@asynccontextmanager
async def running(*arguments: str) -> AsyncIterator[App]:
    """Return a running application, stopped afterwards."""
    app = make_app(*arguments)
    await app.start()
    try:
        yield app
    finally:
        await app.stop()


async def connect(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Open a connection to a listener."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    return await asyncio.open_connection(parts.hostname, parts.port)


async def get(url: str, path: str, headers: bytes = b"") -> tuple[int, bytes]:
    """Return status and body of a GET."""
    reader, writer = await connect(url)
    writer.write(b"GET %b HTTP/1.1\r\nHost: a\r\nConnection: close\r\n" % path.encode())
    writer.write(headers + b"\r\n")
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    await writer.wait_closed()
    return int(head.split()[1]), body


async def is_open(url: str) -> bool:
    """Return whether somebody listens."""
    try:
        _, writer = await connect(url)
    except ConnectionRefusedError:
        return False
    writer.close()
    await writer.wait_closed()
    return True


def verdicts(app: App) -> dict[tuple[str, str], float]:
    """Return how many requests got which verdict for which cause."""
    return {
        (sample.labels["verdict"], sample.labels["cause"]): sample.value
        for family in app.metrics.registry.collect()
        for sample in family.samples
        if sample.name == "goodput_requests_total" and sample.value
    }


# -- start


async def test_both_listeners_say_where_they_are() -> None:
    """After `start` the URLs hold the ports that were taken, and both ports answer."""
    async with running() as app:
        assert urlsplit(app.proxy_url).hostname == "127.0.0.1"
        assert urlsplit(app.proxy_url).port != urlsplit(app.admin_url).port
        assert await get(app.admin_url, "/healthz") == (200, b"ok\n")
        assert await is_open(app.proxy_url)


async def test_ipv6() -> None:
    """IPv6 addresses are listened on and shown with brackets."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    async with running("--listen=[::1]:0", "--admin-listen=[::1]:0") as app:
        assert app.proxy_url.startswith("http://[::1]:")
        assert await get(app.admin_url, "/healthz") == (200, b"ok\n")


@pytest.mark.parametrize("field", ["listen", "admin_listen"])
async def test_nothing_is_half_started(field: str) -> None:
    """When one port cannot be had, the other is closed again and the error names the field."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        app = make_app(f"--{field.replace('_', '-')}={address}")
        with pytest.raises(ConfigError) as caught:
            await app.start()
    flag = f"--{field.replace('_', '-')}"
    reason = f"address already in use; choose another with {flag}"
    assert caught.value.problems == (f"{field}: cannot listen on {address}: {reason}",)
    for url in filter(None, (app.proxy_url, app.admin_url)):
        assert not await is_open(url)
    assert bool(app.admin_url) == (field == "listen")  # it was open for a moment


async def test_the_same_address_twice() -> None:
    """Two listeners cannot share a port: the second is the one that is complained about."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(ConfigError, match=r"^listen: cannot listen on"):
        await make_app(f"--listen={address}", f"--admin-listen={address}").start()


async def test_late_timers_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever holds the event loop up shows in the lag."""
    monkeypatch.setattr(traffic_module, "_LAG_PROBE_S", 0.001)
    app = make_app()
    measured: asyncio.Queue[int] = asyncio.Queue()
    monkeypatch.setattr(app.metrics, "loop_lag", measured.put_nowait)
    await app.start()
    try:
        assert await measured.get() >= 0
        begin = monotonic()
        while monotonic() - begin < 0.03:
            pass  # hold the loop up
        while await measured.get() < 20_000_000:
            pass
    finally:
        await app.stop()


# -- readiness


async def test_ready_when_the_upstream_takes_connections(upstream: Upstream) -> None:
    """`/readyz` is 200 while connections to the upstream can be made."""
    async with running(f"--upstream={upstream.url}") as app:
        assert await get(app.admin_url, "/readyz") == (200, b"ok\n")


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_not_ready_without_an_upstream(scheme: str) -> None:
    """`/readyz` is 503 and says why when the upstream cannot be reached; health is fine."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    async with running(f"--upstream={scheme}://127.0.0.1:{port}") as app:
        status, body = await get(app.admin_url, "/readyz")
        assert status == 503
        assert body.startswith(b"the upstream is not reachable: ")
        assert await get(app.admin_url, "/healthz") == (200, b"ok\n")


# -- stop


async def test_stop_is_idempotent_and_needs_no_start() -> None:
    """Stopping twice, or what never started, does nothing."""
    await make_app().stop()
    app = make_app()
    await app.start()
    await app.stop()
    await app.stop()
    assert not await is_open(app.proxy_url)
    assert not await is_open(app.admin_url)


async def test_the_order_of_a_drain(upstream: Upstream) -> None:
    """Readiness fails first, then new clients are refused, streams finish, admin closes last."""
    app = make_app(f"--upstream={upstream.url}", "--drain.timeout=30s")
    await app.start()
    reader, writer = await connect(app.proxy_url)
    writer.write(REQUEST)
    await reader.readuntil(TOKEN)
    stopping = asyncio.create_task(app.stop())
    await asyncio.sleep(0)
    assert await get(app.admin_url, "/readyz") == (503, b"draining\n")
    while await is_open(app.proxy_url):
        pass  # it closes within a turn or two of the loop
    assert await get(app.admin_url, "/healthz") == (200, b"ok\n")
    assert not stopping.done()
    upstream.finish.set()
    assert (await reader.read()).endswith(DONE + b"\r\n0\r\n\r\n")
    writer.close()
    await stopping
    assert not await is_open(app.admin_url)
    assert verdicts(app) == {("good_partial", ""): 1}


async def test_requests_are_taken_during_the_delay(upstream: Upstream) -> None:
    """For `drain.delay` clients are still served, and told not to come back on the connection."""
    upstream.finish.set()
    app = make_app(f"--upstream={upstream.url}", "--drain.delay=300ms")
    await app.start()
    stopping = asyncio.create_task(app.stop())
    await asyncio.sleep(0)
    reader, writer = await connect(app.proxy_url)
    writer.write(REQUEST)
    answer = await reader.read()
    assert b"\r\nConnection: close\r\n" in answer
    assert answer.endswith(b"0\r\n\r\n")
    writer.close()
    await stopping


async def test_the_deadline_bounds_the_drain(upstream: Upstream) -> None:
    """What still runs after `drain.timeout` is cut inside its framing."""
    app = make_app(f"--upstream={upstream.url}", "--drain.timeout=100ms")
    await app.start()
    reader, writer = await connect(app.proxy_url)
    writer.write(REQUEST)
    await reader.readuntil(TOKEN)
    begin = monotonic()
    await app.stop()
    assert 0.1 <= monotonic() - begin < 1
    with suppress(ConnectionResetError):
        assert not (await reader.read()).endswith(b"0\r\n\r\n")
    assert verdicts(app) == {("error", "truncated"): 1}  # and not "the client left"
    writer.close()


# -- run


@pytest.mark.usefixtures("process_as_it_was")
async def test_run_serves_until_a_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    """`run` serves until SIGTERM, with what is loaded hidden from the collector of garbage."""
    app = make_app()
    listening = asyncio.Event()

    async def start() -> None:
        await App.start(app)
        listening.set()

    monkeypatch.setattr(app, "start", start)
    serving = asyncio.create_task(app.run())
    await listening.wait()
    assert await get(app.admin_url, "/healthz") == (200, b"ok\n")
    assert gc.get_freeze_count() > 0
    assert sys.getswitchinterval() < 0.001
    garbage = _Cycle()
    gone = weakref.ref(garbage)
    del garbage
    gc.collect()
    assert gone() is None  # what came later is still collected
    os.kill(os.getpid(), signal.SIGTERM)
    assert await serving == 0
    assert not await is_open(app.admin_url)


@pytest.mark.usefixtures("process_as_it_was")
async def test_a_second_signal_cuts_streams(
    upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first signal lets streams run, the second ends them at once."""
    app = make_app(f"--upstream={upstream.url}", "--drain.timeout=1h")
    listening = asyncio.Event()

    async def start() -> None:
        await App.start(app)
        listening.set()

    monkeypatch.setattr(app, "start", start)
    serving = asyncio.create_task(app.run())
    await listening.wait()
    reader, writer = await connect(app.proxy_url)
    writer.write(REQUEST)
    await reader.readuntil(TOKEN)
    os.kill(os.getpid(), signal.SIGTERM)
    while await is_open(app.proxy_url):
        pass
    assert not serving.done()
    os.kill(os.getpid(), signal.SIGINT)
    assert await serving == 130
    assert verdicts(app) == {("error", "truncated"): 1}
    with suppress(ConnectionResetError):
        assert not (await reader.read()).endswith(b"0\r\n\r\n")
    writer.close()


class _Cycle:
    """An object that only the collector of garbage can free."""

    def __init__(self) -> None:
        self.self: Any = self
