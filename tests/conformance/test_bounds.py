"""Promises 38 and 40: how much a client may ask of the proxy, and how many may."""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.integration.fake_upstream import Ending, connect
from tests.integration.harness import chunk, get, get_request, post, scrape, sized
from tests.integration.process import serving
from tests.waiting import eventually

if TYPE_CHECKING:
    from tests.integration.conftest import StartProxy
    from tests.integration.fake_upstream import FakeUpstream, Peer
    from tests.integration.harness import RunningProxy
    from tests.integration.process import ProxyProcess

UPLOAD = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


OVERSIZE = {
    "target": (414, get_request(b"/" + b"a" * 70_000)),
    "name": (431, get_request(b"/", b"a" * 70_000 + b": 1")),
    "value": (431, get_request(b"/", b"X-Large: " + b"a" * 70_000)),
    "number of fields": (431, get_request(b"/", *[b"X-%d: 1" % i for i in range(200)])),
    "sum": (431, get_request(b"/", *[b"X-A: " + b"a" * 1000] * 70)),
}


@pytest.mark.parametrize(("status", "request_bytes"), OVERSIZE.values(), ids=OVERSIZE)
async def test_38_an_oversize_head_is_refused(
    proxy: RunningProxy, upstream: FakeUpstream, status: int, request_bytes: bytes
) -> None:
    """A target, a field, their number and their sum above the bound are refused here."""
    client = await proxy.connect()
    client.send(request_bytes)

    assert (await client.answer()).status == status
    assert await client.ended()
    samples = await proxy.samples()
    assert samples.total("goodput_passthrough_requests_total", kind="refused") == 1
    assert upstream.size == 0


async def assert_too_large(proxy: RunningProxy, client: Peer) -> None:
    """Check that a body is refused, and that its sender is to blame."""
    answer = await client.answer()
    assert answer.status == 413
    assert answer.header(b"Connection") == b"close"
    assert b"body_too_large" in answer.body
    client.close()
    samples = await proxy.samples()
    assert samples.verdicts() == {("client_error", "http_4xx"): 1}
    assert samples.total("goodput_upstream_errors_total") == 0


@pytest.mark.parametrize("expect", [(), (b"Expect: 100-continue",)])
async def test_38_an_announced_body_above_the_limit_is_413(
    start_proxy: StartProxy, upstream: FakeUpstream, expect: tuple[bytes, ...]
) -> None:
    """A body that is announced as too large is refused before it is asked for."""
    proxy = await start_proxy(limits={"body_bytes": 1000})
    client = await proxy.connect()
    client.send(post(b"x" * 1001, *expect).removesuffix(b"x" * 1001))

    await assert_too_large(proxy, client)
    assert upstream.size == 0


async def test_38_a_streamed_body_above_the_limit_is_413(start_proxy: StartProxy) -> None:
    """The bytes of a body without a length are counted; its upload never looks complete."""
    proxy = await start_proxy(limits={"body_bytes": 1000})
    client, server = await proxy.begin(UPLOAD)
    client.send(chunk(b"x" * 1000))
    await server.until(rb"x\r\n$")
    client.send(chunk(b"y"))

    await assert_too_large(proxy, client)
    await server.ended()
    assert server.received == UPLOAD + chunk(b"x" * 1000)


async def test_38_a_body_of_the_limit_passes(start_proxy: StartProxy) -> None:
    """The limit itself is not above the limit."""
    proxy = await start_proxy(limits={"body_bytes": 1000})
    for request in (post(b"x" * 1000), UPLOAD + chunk(b"x" * 1000) + b"0\r\n\r\n"):
        seen, answer = await proxy.exchange(request, sized(b"ok"))
        assert (seen, answer.body) == (request, b"ok")


async def test_40_a_surplus_connection_is_503(
    start_proxy: StartProxy, upstream: FakeUpstream
) -> None:
    """One connection above the limit is told to come back; the admin listener has no limit."""
    proxy = await start_proxy(limits={"connections": 2})
    client, server = await proxy.begin(post(b"{}"))
    idle = await proxy.connect()
    await eventually(lambda: proxy.connections == 2)
    surplus = await proxy.connect()
    surplus.send(post(b"{}"), post(b"{}"))
    answer = await surplus.answer()

    assert answer.status == 503
    assert answer.header(b"Retry-After") == b"1"
    assert answer.header(b"Connection") == b"close"
    assert b"too_many_connections" in answer.body
    assert await surplus.ended() is Ending.FIN
    assert len(upstream.peers) == 1
    samples = await scrape(proxy.admin_port)
    assert samples.total("goodput_client_faults_total", reason="surplus") == 1
    assert (await get(proxy.admin_port, "/healthz")).status == 200
    idle.close()
    await eventually(lambda: proxy.connections == 1)
    again = await proxy.connect()
    await server.request()
    server.send(sized(b"ok"))
    assert (await client.answer()).status == 200
    again.send(post(b"{}"))
    await server.request()
    server.send(sized(b"ok"))
    assert (await again.answer()).status == 200


async def test_40_surplus_connections_do_not_stay(start_proxy: StartProxy) -> None:
    """Who sends nothing is closed soon, and where there are many, at once, with the answer."""
    proxy = await start_proxy(limits={"connections": 1})
    await proxy.connect()
    await eventually(lambda: proxy.connections == 1)
    many = [await proxy.connect() for _ in range(40)]
    for client in many:
        await client.ended()
    answered = [client for client in many if client.received.startswith(b"HTTP/1.1 503 ")]

    assert 0 < len(answered) <= 24  # while sixteen are waited for
    samples = await scrape(proxy.admin_port)
    assert samples.total("goodput_client_faults_total", reason="surplus") == 40


async def test_40_a_burst_is_counted(start_proxy: StartProxy) -> None:
    """Of connections that are accepted in one go none slips past the limit."""
    proxy = await start_proxy(limits={"connections": 5})
    with ExitStack() as stack:
        for _ in range(40):  # the kernel connects them, and the loop has no turn meanwhile
            stack.enter_context(socket.create_connection(("127.0.0.1", proxy.port)))
        surplus = 0.0
        while surplus + proxy.connections < 40:
            samples = await scrape(proxy.admin_port)
            surplus = samples.total("goodput_client_faults_total", reason="surplus")

        assert (proxy.connections, surplus) == (5, 35)


def cpu_s(pid: int) -> float:
    """Return the processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="counts what /proc tells")
async def test_40_descriptors_do_not_run_out(upstream: FakeUpstream) -> None:
    """With more clients than descriptors, nothing spins, admin answers, and it passes by itself."""
    allowed = (128 - 64) // 2
    async with serving(upstream.url, prefix=("prlimit", "--nofile=128:128")) as proxy:
        crowd = [await connect(proxy.port) for _ in range(300)]
        for client in crowd:
            client.send(post(b"{}"))
        served = [await upstream.accept() for _ in range(allowed)]
        for server in served:
            await server.request()
        await eventually(lambda: sum(c.ending is not None for c in crowd) == 300 - allowed)
        before_s = cpu_s(proxy.process.pid)
        await asyncio.sleep(0.5)
        spent_s = cpu_s(proxy.process.pid) - before_s
        for path in ("/healthz", "/readyz"):
            assert (await get(proxy.admin_port, path)).status == 200
        samples = await scrape(proxy.admin_port)
        for server in served:
            server.send(sized(b"ok"))
        answers = [await client.answer() for client in crowd if client.ending is None]

        assert [answer.status for answer in answers] == [200] * allowed
        assert spent_s < 0.25
        assert samples.total("goodput_client_faults_total", reason="surplus") == 300 - allowed
        for client in crowd:
            client.close()
        await answered(proxy, upstream)


async def answered(proxy: ProxyProcess, upstream: FakeUpstream) -> None:
    """Send requests until one is forwarded, and have it answered."""
    client = await proxy.connect()
    while True:
        client.send(post(b"{}"))
        await eventually(partial(arrived, client, upstream))
        if not client.received:
            break
        client = await proxy.connect()
    (server,) = [peer for peer in upstream.peers if peer.received]
    server.send(sized(b"ok"))
    assert (await client.answer()).status == 200


def arrived(client: Peer, upstream: FakeUpstream) -> bool:
    """Return whether a request was forwarded, or answered in place of that."""
    return bool(client.received) or any(peer.received for peer in upstream.peers)
