"""Promises 30, 32, 33 and 37: streams, however slow, large, long or many, and nothing is lost."""

from __future__ import annotations

import asyncio
import hashlib
import resource
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from goodput_proxy.settings import TimeoutSettings
from tests.integration.harness import (
    DONE,
    FINISH,
    LAST_CHUNK,
    SSE_HEAD,
    chunk,
    post,
    sized,
    token,
)
from tests.integration.process import serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.integration.conftest import StartProxy
    from tests.integration.fake_upstream import FakeUpstream, Peer
    from tests.integration.harness import RunningProxy

UPLOAD = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
MIB = 2**20
PIECE_BYTES = 64 * 1024
# What two loopback connections hold in the kernel (up to 4 MiB sent and 6 MiB received each),
# and the proxy's own buffers. What may not be taken is the whole body.
HELD_BYTES = 24 * MIB
BODY_BYTES = 64 * MIB
# Of one stream whose client does not read, in the proxy: a full buffer of 64 KiB and one read of up
# to 256 KiB more, what the meter has not looked at yet (512 KiB), and what the allocator adds.
STREAM_BYTES = 3 * MIB // 2


def pieces(total: int) -> Iterator[bytes]:
    """Return a body that never repeats, piece by piece; it is not UTF-8 and not JSON."""
    for i in range(total // PIECE_BYTES):
        block = hashlib.sha256(b"%d" % i).digest()
        yield block * (PIECE_BYTES // len(block))


def digest(parts: Iterator[bytes]) -> str:
    """Return the hash of a body."""
    sha = hashlib.sha256()
    for part in parts:
        sha.update(part)
    return sha.hexdigest()


async def stalled(count: Callable[[], int]) -> int:
    """Wait until a count no longer grows; return it."""
    last = -1
    while count() != last:
        last = count()
        await asyncio.sleep(0.1)
    return last


class Memory:
    """The growth of this process, in which client, proxy and upstream run."""

    def __init__(self) -> None:
        self._before = self._now()
        self.grown = 0

    def watch(self, parts: Iterator[bytes]) -> Iterator[bytes]:
        """Pass a body on and look at the memory now and then."""
        for i, part in enumerate(parts):
            yield part
            if i % 20 == 0:
                self.grown = max(self.grown, self._now() - self._before)

    @staticmethod
    def _now() -> int:
        try:
            return resident_bytes("self")
        except FileNotFoundError:
            pytest.skip("the resident size is read from /proc")


def resident_bytes(process: int | str) -> int:
    """Return how much memory a process takes."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def count_only(peer: Peer) -> None:
    """From here on, only hash what a peer receives."""
    peer.take()
    peer.keep = False
    peer.size = 0


async def test_32_a_stalled_reader_stops_its_upstream(proxy: RunningProxy) -> None:
    """A client that does not read stops the upstream; when it reads again it gets every byte."""
    client, server = await proxy.begin(post(b"{}"))
    server.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % BODY_BYTES)
    await client.until_head()
    count_only(client)
    client.pause()
    pouring = asyncio.create_task(server.pour(pieces(BODY_BYTES)))

    assert await stalled(lambda: server.wrote) < HELD_BYTES
    client.resume()
    await pouring
    await client.until_size(BODY_BYTES)
    assert client.digest.hexdigest() == digest(pieces(BODY_BYTES))
    await proxy.idle()
    assert server.ending is None  # a complete exchange: its connection is kept


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="counts what /proc tells")
async def test_32_memory_of_stalled_readers(upstream: FakeUpstream) -> None:
    """What a client does not read takes its process a bounded amount of memory."""
    streams = 6
    records = [chunk(b"x" * 60_000)] * 1000
    async with serving(upstream.url) as proxy:
        before = resident_bytes(proxy.process.pid)
        servers = []
        for _ in range(streams):
            client = await proxy.connect()
            client.send(post(b"{}"))
            server = await upstream.accept()
            await server.request()
            server.send(SSE_HEAD)
            await client.until_head()
            client.pause()
            servers.append(server)
        pouring = [asyncio.create_task(server.pour(records)) for server in servers]
        await stalled(lambda: upstream_wrote(upstream))
        grown = resident_bytes(proxy.process.pid) - before
        assert not any(task.done() for task in pouring)
        for client in proxy.clients:
            client.reset()
        await asyncio.gather(*pouring)

    assert grown / streams < STREAM_BYTES


def upstream_wrote(upstream: FakeUpstream) -> int:
    """Return how many bytes an upstream has written in all."""
    return sum(peer.wrote for peer in upstream.peers)


async def test_stalled_reader_of_a_stream(start_proxy: StartProxy) -> None:
    """A paused stream is neither idle nor lost: the server is not to blame for its client."""
    proxy = await start_proxy(timeouts={"idle": "800ms"})
    client, server = await proxy.begin(post(b"{}"))
    server.send(SSE_HEAD)
    await client.until_head()
    count_only(client)
    client.pause()
    records = [chunk(token("x" * 30_000))] * 1000
    pouring = asyncio.create_task(server.pour(records))
    await stalled(lambda: server.wrote)
    await asyncio.sleep(1)  # longer than the idle timeout
    client.resume()
    await pouring
    server.send(LAST_CHUNK)
    await client.until_size(sum(map(len, records)) + len(LAST_CHUNK))

    samples = await proxy.samples()
    assert samples.total("goodput_upstream_errors_total") == 0


async def test_32_a_stalled_reader_stops_nobody_else(proxy: RunningProxy) -> None:
    """One client that does not read costs no other client anything."""
    stuck, stuck_server = await proxy.begin(post(b"{}"))
    stuck_server.send(SSE_HEAD)
    stuck.pause()
    pouring = asyncio.create_task(stuck_server.pour([chunk(b"x" * 60_000)] * 2000))
    await stalled(lambda: stuck_server.wrote)
    _, answer = await proxy.exchange(post(b"{}"), sized(b"ok"))

    assert answer.body == b"ok"
    stuck.reset()
    await pouring


@pytest.mark.parametrize("model", [None, "m"])
async def test_large_upload(proxy: RunningProxy, model: str | None) -> None:
    """100 MB of anything pass untouched through bounded memory, and are counted as unknown."""
    total = 100 * MIB // PIECE_BYTES * PIECE_BYTES
    start = b'{"model": "%b", "padding": "' % model.encode() if model else b"\xff\xfe\x00"
    head = post(b"", b"Content-Type: application/json").replace(
        b"Content-Length: 0", b"Content-Length: %d" % (len(start) + total)
    )
    client, server = await proxy.begin(head)
    assert server.take() == head
    count_only(server)
    memory = Memory()
    client.send(start)
    await client.pour(memory.watch(pieces(total)))
    await server.until_size(len(start) + total)
    sha = hashlib.sha256(start)
    for piece in pieces(total):
        sha.update(piece)

    assert server.digest.hexdigest() == sha.hexdigest()
    assert memory.grown < 16 * MIB
    server.send(sized(b'{"error": {"message": "no", "code": 500}}', b"500 Internal Server Error"))
    assert (await client.answer()).status == 500
    samples = await proxy.samples()
    assert samples.verdicts() == {("error", "http_5xx"): 1}
    assert samples.verdicts(model="unknown") == {("error", "http_5xx"): 1}


async def test_unreadable_body(proxy: RunningProxy) -> None:
    """A body that is neither JSON nor UTF-8 is forwarded and counted with an unknown model."""
    body = bytes(range(256))
    seen, _ = await proxy.exchange(post(body), sized(b"no", b"503 Busy"))

    assert seen == post(body)
    assert (await proxy.samples()).verdicts(model="unknown") == {("error", "http_5xx"): 1}


async def test_33_a_stalled_upstream_stops_its_client(proxy: RunningProxy) -> None:
    """A server that does not read stops the client's upload; then it gets every byte."""
    head = post(b"", path=b"/upload").replace(
        b"Content-Length: 0", b"Content-Length: %d" % BODY_BYTES
    )
    client, server = await proxy.begin(head)
    count_only(server)
    server.pause()
    pouring = asyncio.create_task(client.pour(pieces(BODY_BYTES)))

    assert await stalled(lambda: client.wrote) < HELD_BYTES
    server.resume()
    await pouring
    await server.until_size(BODY_BYTES)
    assert server.digest.hexdigest() == digest(pieces(BODY_BYTES))
    server.send(sized(b"ok"))
    assert (await client.answer()).body == b"ok"


async def test_30_an_answer_while_the_upload_is_stalled(proxy: RunningProxy) -> None:
    """A server that refuses an upload without reading it is heard at once."""
    head = post(b"").replace(b"Content-Length: 0", b"Content-Length: %d" % BODY_BYTES)
    client, server = await proxy.begin(head)
    server.pause()
    pouring = asyncio.create_task(client.pour(pieces(BODY_BYTES)))
    await stalled(lambda: client.wrote)
    server.send(sized(b"too large", b"413 Content Too Large"))

    assert (await client.answer()).status == 413
    client.reset()
    await pouring
    assert await proxy.verdicts() == {("client_error", "http_4xx"): 1}


async def test_37_streams_are_not_queued(proxy: RunningProxy, upstream: FakeUpstream) -> None:
    """However many streams run, the next one reaches the server at once."""
    clients = [await proxy.connect() for _ in range(150)]
    for client in clients:
        client.send(post(b"{}"))
    servers = [await upstream.accept() for _ in clients]
    for server in servers:
        await server.request()
    assert proxy.inner.in_flight == len(clients)
    for server in servers:
        server.send(sized(b"ok"))
    for client in clients:
        assert (await client.answer()).status == 200


async def test_30_an_early_refusal_stops_the_upload(proxy: RunningProxy) -> None:
    """An answer that comes during an upload is passed on at once, and the rest goes nowhere."""
    client, server = await proxy.begin(UPLOAD)
    client.send(chunk(b"abc"))
    await server.until(rb"abc\r\n$")
    server.send(sized(b"too large", b"413 Content Too Large"))
    answer = await client.answer()  # although the upload goes on
    client.send(chunk(b"more"))

    assert (answer.status, answer.body) == (413, b"too large")
    await server.ended()
    assert server.received == UPLOAD + chunk(b"abc")
    assert await proxy.verdicts() == {("client_error", "http_4xx"): 1}


async def test_37_no_timeout_bounds_a_whole_stream(start_proxy: StartProxy) -> None:
    """A stream that goes on outlasts every timeout there is, many times over."""
    timeouts = dict.fromkeys(TimeoutSettings.model_fields, "400ms")
    proxy = await start_proxy(timeouts=timeouts)
    client, server = await proxy.begin(UPLOAD)
    client.send(b"0\r\n\r\n")
    await server.request()
    server.send(SSE_HEAD)
    for _ in range(80):
        server.send(chunk(token()))
        await asyncio.sleep(0.04)
    server.send(chunk(FINISH + DONE), LAST_CHUNK)
    answer = await client.answer()

    assert answer.complete
    assert answer.body.count(b"content") == 80
