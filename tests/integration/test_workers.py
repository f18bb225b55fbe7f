"""Several workers are one proxy: to clients, to Prometheus, and to whoever stops or reloads it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import closing, suppress
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING

import pytest

from tests.integration.harness import (
    DONE,
    FINISH,
    LAST_CHUNK,
    SSE_HEAD,
    chunk,
    get,
    post,
    scrape,
    token,
)
from tests.integration.process import serving
from tests.integration.workers import connect_to_each, find_workers, samples_when
from tests.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.fake_upstream import FakeUpstream, Peer
    from tests.integration.process import ProxyProcess

ASK = post(b'{"model":"m","stream":true}', b"X-Request-Id: r-1")
# Each request comes to the upstream by a connection of its own.
HEAD = SSE_HEAD.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
REST = chunk(token() + FINISH + DONE) + LAST_CHUNK
GOOD = {"verdict": "good_partial"}  # one token has no ITL


async def begin(client: Peer, upstream: FakeUpstream, request: bytes = ASK) -> Peer:
    """Send a request, have its answer begun, and return the server's side of it."""
    client.send(request)
    server = await upstream.accept()
    await server.request()
    server.send(HEAD, chunk(token()))
    await client.until(b"content")
    return server


async def end(client: Peer, server: Peer) -> None:
    """Let a stream finish."""
    server.send(chunk(FINISH + DONE) + LAST_CHUNK)
    assert (await client.answer()).complete
    client.take()
    server.close()


async def exchange(client: Peer, upstream: FakeUpstream, times: int = 1) -> None:
    """Play whole exchanges, one after the other."""
    for _ in range(times):
        await end(client, await begin(client, upstream))


async def test_a_killed_worker_leaves_its_counts(upstream: FakeUpstream) -> None:
    """All that had ended is counted, once; what it was at is gone; another is there in a second."""
    async with serving(upstream.url, "--workers=2") as proxy:
        one, two = (await connect_to_each(proxy)).items()
        await exchange(one[1], upstream, 5)
        await exchange(two[1], upstream, 3)
        cut = await begin(one[1], upstream)
        kept = await begin(two[1], upstream)
        before = await samples_when(proxy, "goodput_requests_total", 8)
        os.kill(one[0], signal.SIGKILL)
        killed_s = monotonic()
        await one[1].ended()
        await samples_when(proxy, "goodput_worker_restarts_total", 1)
        await samples_when(proxy, "goodput_workers", 2)
        replaced_s = monotonic() - killed_s
        during = await samples_when(proxy, "goodput_requests_in_flight", 1)
        await cut.ended()  # the server stops generating
        await end(two[1], kept)
        (successor,) = set(find_workers(proxy)) - {two[0]}
        await exchange((await connect_to_each(proxy))[successor], upstream, 2)
        after = await samples_when(proxy, "goodput_requests_total", 11)

    assert before.total("goodput_requests_in_flight") == 2
    assert during.total("goodput_requests_total", **GOOD) == 8
    assert after.total("goodput_requests_total", **GOOD) == 11
    assert after.total("goodput_time_to_first_token_seconds_count") == 11
    assert after.total("goodput_frontier_requests_total", ttft_le="+Inf", itl_le="+Inf") == 11
    assert after.total("goodput_load_requests_total") == 11
    assert after.total("goodput_requests_in_flight") == 0
    assert after.total("goodput_worker_lost_requests_total") == 0
    assert replaced_s < 1


async def test_load_is_that_of_all_workers(upstream: FakeUpstream) -> None:
    """A request is counted by how many are in flight anywhere when it arrives."""
    async with serving(upstream.url, "--workers=2", "--log.requests=1") as proxy:
        clients = list((await connect_to_each(proxy)).values())
        servers = [await begin(client, upstream) for client in clients]
        clients.append(await proxy.connect())
        servers.append(await begin(clients[2], upstream))
        seen = []
        for client, server in zip(clients, servers, strict=True):
            await end(client, server)
            seen.append(await proxy.logged("request"))
        after = await samples_when(proxy, "goodput_load_requests_total", 3)

    assert [line["in_flight"] for line in seen] == [1, 2, 3]
    assert [line["request_id"] for line in seen] == ["r-1"] * 3
    assert {band: after.total("goodput_load_requests_total", in_flight=band) for band in "124"} == {
        "1": 1,
        "2": 1,
        "4": 1,
    }


async def test_a_reload_reaches_all(upstream: FakeUpstream, tmp_path: Path) -> None:
    """New requests of each worker and of its successor are judged by the new limits."""
    path = tmp_path / "config.yaml"
    path.write_text("slo: {ttft: 600s, itl: none}\n")
    async with serving(upstream.url, "--workers=2", f"--config={path}") as proxy:
        clients = await connect_to_each(proxy)
        begun = {worker: await begin(client, upstream) for worker, client in clients.items()}
        path.write_text(
            "slo: {ttft: 1us, itl: none}\nslo_classes: [{name: b, ttft: 1s, match: {model: x}}]\n"
        )
        proxy.signal(signal.SIGHUP)
        await proxy.logged("configuration reloaded")
        for worker, client in clients.items():
            await end(client, begun[worker])
            await exchange(client, upstream)
        await samples_when(proxy, "goodput_requests_total", 4)
        os.kill(min(clients), signal.SIGKILL)
        await samples_when(proxy, "goodput_worker_restarts_total", 1)
        await samples_when(proxy, "goodput_workers", 2)
        (successor,) = set(find_workers(proxy)) - set(clients)
        await exchange((await connect_to_each(proxy))[successor], upstream)
        after = await samples_when(proxy, "goodput_requests_total", 5)

    assert after.verdicts() == {("good", ""): 2, ("slow", "ttft"): 3}
    assert after.total("goodput_slo_threshold_seconds", slo="default", dimension="ttft") == 1e-6


async def test_draining_lets_streams_finish(upstream: FakeUpstream) -> None:
    """In all workers; nothing new is taken, the last counts can be scraped, and the code is 0."""
    async with serving(upstream.url, "--workers=2") as proxy:
        clients = list((await connect_to_each(proxy)).values())
        servers = [await begin(client, upstream) for client in clients]
        proxy.signal()
        assert (await proxy.logged("draining workers"))["in_flight"] == 2
        assert (await get(proxy.admin_port, "/readyz")).body == b"draining\n"
        await end(clients[0], servers[0])
        await samples_when(proxy, "goodput_workers", 1)
        assert (await scrape(proxy.admin_port)).total("goodput_requests_total") == 1
        with pytest.raises(ConnectionRefusedError):
            await proxy.connect()
        await end(clients[1], servers[1])
        assert await proxy.exit_code() == 0


async def test_a_second_signal_cuts(upstream: FakeUpstream) -> None:
    """Streams of all workers are cut, visibly, and the exit code says by what."""
    async with serving(upstream.url, "--workers=2") as proxy:
        clients = list((await connect_to_each(proxy)).values())
        servers = [await begin(client, upstream) for client in clients]
        proxy.signal()
        await proxy.logged("draining workers")
        proxy.signal()
        assert await proxy.exit_code() == 128 + signal.SIGTERM
        for client in clients:
            await client.ended()
            assert LAST_CHUNK not in client.take()
        for server in servers:
            await server.ended()


async def test_models_are_bounded_together(upstream: FakeUpstream) -> None:
    """The label `model` has as many values as the limit says, whichever workers saw them."""
    async with serving(upstream.url, "--workers=2", "--limits.models=3") as proxy:
        for number, client in enumerate((await connect_to_each(proxy)).values()):
            for name in range(3):
                request = post(b'{"model":"m%d-%d","stream":true}' % (number, name))
                await end(client, await begin(client, upstream, request))
        after = await samples_when(proxy, "goodput_requests_total", 6)

    models = {dict(labels)["model"] for _, labels in after.values if "model" in dict(labels)}
    assert models == {"unknown", "m0-0", "m0-1", "other"}


async def test_a_worker_that_keeps_dying_is_no_spin(upstream: FakeUpstream) -> None:
    """Each successor that dies young comes later; without any the proxy is not ready."""
    async with serving(upstream.url, "--workers=2") as proxy:
        delays = []
        for _ in range(4):
            await samples_when(proxy, "goodput_workers", 2)
            for worker in find_workers(proxy):
                os.kill(worker, signal.SIGKILL)
            ended = [await proxy.logged("a worker has ended and is replaced") for _ in range(2)]
            delays.append([line["delay_s"] for line in ended])
        answer = await get(proxy.admin_port, "/readyz")
        await samples_when(proxy, "goodput_workers", 2)
        ready = await get(proxy.admin_port, "/readyz")

    assert delays == [[0.1, 0.1], [0.2, 0.2], [0.4, 0.4], [0.8, 0.8]]
    assert ended[0]["code"] == -signal.SIGKILL
    assert (answer.status, answer.body) == (503, b"no worker is alive\n")
    assert ready.status == 200


async def test_bytes_do_not_wait_for_the_supervisor(upstream: FakeUpstream) -> None:
    """While it stands still, traffic flows; when it goes on, it hears of everything."""
    async with serving(upstream.url, "--workers=2") as proxy:
        clients = (await connect_to_each(proxy)).values()
        proxy.signal(signal.SIGSTOP)
        for client in clients:
            await exchange(client, upstream, 100)
        proxy.signal(signal.SIGCONT)
        after = await samples_when(proxy, "goodput_requests_total", 200)

    assert after.total("goodput_worker_lost_requests_total") == 0
    assert after.total("goodput_worker_restarts_total") == 0


async def test_no_worker_outlives_the_supervisor(upstream: FakeUpstream) -> None:
    """They drain: what runs may finish, nothing new is taken, and then they are gone."""
    async with serving(upstream.url, "--workers=2", "--drain.timeout=60s") as proxy:
        clients = await connect_to_each(proxy)
        servers = {worker: await begin(client, upstream) for worker, client in clients.items()}
        proxy.signal(signal.SIGKILL)
        await proxy.process.wait()
        for worker, client in clients.items():
            await end(client, servers[worker])
        for worker in clients:
            await eventually(partial(_is_gone, worker), "it ends")


async def test_a_port_that_is_taken(upstream: FakeUpstream) -> None:
    """Two proxies do not share a port by mistake, although workers could."""
    async with serving(upstream.url, "--workers=2") as proxy:
        taken = f"--listen=127.0.0.1:{proxy.port}"
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "goodput_proxy", "--workers=2", "--admin-listen=127.0.0.1:0"),
            taken,
            stderr=asyncio.subprocess.PIPE,
        )
        _, said = await process.communicate()

    assert process.returncode == 2
    assert b"listen: cannot listen on" in said
    assert b"address already in use" in said


async def test_traffic_through_deaths(upstream: FakeUpstream) -> None:
    """Whoever got a whole answer is counted, but for those that a death fell into."""
    whole = 0
    stop = asyncio.Event()

    async def ask(proxy: ProxyProcess) -> None:
        nonlocal whole
        while not stop.is_set():
            with suppress(ConnectionError):
                reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
                with closing(writer):
                    writer.write(post(b'{"model":"m"}', b"Connection: close"))
                    got = await reader.read()
                    whole += got.endswith(LAST_CHUNK)

    def has_come_to(enough: int) -> bool:
        return whole >= enough

    async def serve() -> None:
        while True:
            server = await upstream.next()
            tasks.append(asyncio.create_task(answer_all(server)))

    async def answer_all(server: Peer) -> None:
        with suppress(AssertionError):  # its client has gone with the worker
            await server.request()
        server.send(HEAD, REST)
        server.close()

    tasks: list[asyncio.Task[None]] = []
    server = asyncio.create_task(serve())
    async with serving(upstream.url, "--workers=2") as proxy:
        clients = [asyncio.create_task(ask(proxy)) for _ in range(8)]
        for deaths in range(1, 4):
            await eventually(partial(has_come_to, whole + 50), "traffic flows")
            os.kill(find_workers(proxy)[0], signal.SIGKILL)
            await samples_when(proxy, "goodput_worker_restarts_total", deaths)
            await samples_when(proxy, "goodput_workers", 2)
        stop.set()
        await asyncio.gather(*clients)
        after = await samples_when(proxy, "goodput_requests_in_flight", 0)
    server.cancel()
    counted = after.total("goodput_requests_total", **GOOD)

    # A death may fall between a last byte and its count, or the other way round.
    assert abs(whole - counted) <= 3 * len(clients)
    assert counted >= 150


def _is_gone(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    return False
