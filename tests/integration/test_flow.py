"""Flow control: who does not keep up is waited for, with bounded memory, and nothing is lost."""

from __future__ import annotations

import asyncio
import hashlib
import resource
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.integration.harness import LAST_CHUNK, SSE_HEAD, chunk, post, sized, token

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.integration.conftest import StartProxy
    from tests.integration.fake_upstream import Peer
    from tests.integration.harness import RunningProxy

MIB = 2**20
PIECE_BYTES = 64 * 1024
# What two loopback connections hold in the kernel (up to 4 MiB sent and 6 MiB received each),
# and the proxy's own buffers. What may not be taken is the whole body.
HELD_BYTES = 24 * MIB
BODY_BYTES = 64 * MIB


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
            pages = int(Path("/proc/self/statm").read_text().split()[1])
        except FileNotFoundError:
            pytest.skip("the resident size is read from /proc")
        return pages * resource.getpagesize()


def count_only(peer: Peer) -> None:
    """From here on, only hash what a peer receives."""
    peer.take()
    peer.keep = False
    peer.size = 0


async def test_stalled_reader(proxy: RunningProxy) -> None:
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


async def test_stalled_reader_of_a_stream(start_proxy: StartProxy) -> None:
    """A paused stream is neither idle nor lost: the server is not to blame for its client."""
    proxy = await start_proxy(timeouts={"idle": "150ms"})
    client, server = await proxy.begin(post(b"{}"))
    server.send(SSE_HEAD)
    await client.until_head()
    count_only(client)
    client.pause()
    records = [chunk(token("x" * 30_000))] * 1000
    pouring = asyncio.create_task(server.pour(records))
    await stalled(lambda: server.wrote)
    await asyncio.sleep(0.3)  # longer than the idle timeout
    client.resume()
    await pouring
    server.send(LAST_CHUNK)
    await client.until_size(sum(map(len, records)) + len(LAST_CHUNK))

    samples = await proxy.samples()
    assert samples.total("goodput_upstream_errors_total") == 0


async def test_stalled_reader_does_not_stop_others(proxy: RunningProxy) -> None:
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


async def test_stalled_upstream(proxy: RunningProxy) -> None:
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


async def test_answer_while_the_upload_is_stalled(proxy: RunningProxy) -> None:
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
