"""Promises 35 and 36: connections to the upstream are used again, and never once too often."""

from __future__ import annotations

import asyncio
import os
import random
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from tests.conftest import skip_or_fail
from tests.integration.fake_upstream import FakeUpstream
from tests.integration.harness import post, sized
from tests.integration.process import serving
from tests.waiting import PATIENCE_S, eventually

if TYPE_CHECKING:
    from tests.integration.conftest import StartProxy
    from tests.integration.fake_upstream import Peer
    from tests.integration.harness import RunningProxy

# uvicorn closes a connection that was idle for 5 s, and the proxy lets go after 4 s. All times are
# a tenth of that here, and as many clients are served side by side.
SCALE = 0.1
SERVER_IDLE_S = 5 * SCALE
OWN_IDLE = f"{round(4000 * SCALE)}ms"
# For so long the proxy cannot know that the server has closed.
TRANSIT_S = 0.02
CLIENTS = 100
ROUNDS = 10


async def serve(server: Peer, everybody: asyncio.Barrier) -> None:
    """Answer requests when all have come: each needs a connection. Close those that are idle."""
    while True:
        try:
            async with asyncio.timeout(SERVER_IDLE_S):
                await server.request()
        except TimeoutError:
            await asyncio.sleep(TRANSIT_S)  # what comes now is lost
            server.reset()
            return
        except AssertionError:  # the proxy has closed it
            server.close()
            return
        async with asyncio.timeout(PATIENCE_S):
            await everybody.wait()
        server.send(sized(b"ok"))


async def test_35_servers_that_close_idle_connections_cause_no_error(
    start_proxy: StartProxy, upstream: FakeUpstream
) -> None:
    """1,000 POSTs, each 5.0 +- 0.1 s (scaled) after the last on its connection: all succeed."""
    proxy = await start_proxy(timeouts={"upstream_keepalive": OWN_IDLE})
    seeded = random.Random(35)
    everybody = asyncio.Barrier(CLIENTS)

    async def accept() -> None:
        async with asyncio.TaskGroup() as group:
            while True:
                group.create_task(serve(await upstream.accept(), everybody))

    async def ask() -> list[int]:
        client = await proxy.connect()
        statuses = []
        for _ in range(ROUNDS):
            client.send(post(b"{}"))
            statuses.append((await client.answer()).status)
            await asyncio.sleep(seeded.uniform(4.9, 5.1) * SCALE)
        return statuses

    accepting = asyncio.create_task(accept())
    statuses = await asyncio.gather(*(ask() for _ in range(CLIENTS)))
    accepting.cancel()

    assert statuses == [[200] * ROUNDS] * CLIENTS
    assert (await proxy.samples()).total("goodput_upstream_errors_total") == 0


async def test_35_an_end_that_is_under_way_causes_no_error(
    proxy: RunningProxy, upstream: FakeUpstream
) -> None:
    """A server that closes idle connections causes no error: none of them is used again."""
    client = await proxy.connect()
    for i in range(50):
        client.send(post(b"{}"))
        server = await upstream.accept()
        await server.request()
        server.send(sized(b"%d" % i))
        answer = await client.answer()
        assert answer.body == b"%d" % i
        # The end arrives while the client's next request is already under way.
        server.close()
    assert len(upstream.peers) == 50


async def test_35_idle_connections_expire(start_proxy: StartProxy, upstream: FakeUpstream) -> None:
    """An idle connection is closed before a server would close it."""
    proxy = await start_proxy(timeouts={"upstream_keepalive": "50ms"})
    client, server = await proxy.begin(post(b"{}"))
    server.send(sized(b"ok"))
    await client.answer()
    await server.ended()
    client.send(post(b"{}"))
    second = await upstream.accept()
    second.send(sized(b"ok"))

    assert (await client.answer()).status == 200


async def test_36_no_connection_from_before_a_restart_is_used(
    proxy: RunningProxy, upstream: FakeUpstream
) -> None:
    """After a restart the next request succeeds, and no connection from before is used."""
    client, server = await proxy.begin(post(b"{}"))
    server.send(sized(b"before"))
    await client.answer()
    await upstream.stop()
    server.close()
    await proxy.idle()
    again = FakeUpstream()
    await again.start(port=upstream.port)
    client.send(post(b"{}"))
    second = await again.accept()
    await second.request()
    second.send(sized(b"after"))
    answer = await client.answer()
    await again.stop()

    assert answer.body == b"after"


async def test_36_a_restart_is_over_within_a_second(
    proxy: RunningProxy, upstream: FakeUpstream
) -> None:
    """While the server is down each request gets 502; as soon as it is back, they succeed."""
    clients = [await proxy.connect() for _ in range(5)]
    for client in clients:
        client.send(post(b"{}"))
    for _ in clients:
        server = await upstream.accept()
        await server.request()
        server.send(sized(b"before"))
    for client in clients:
        await client.answer()
    await upstream.stop()  # with five connections in the pool
    for _ in range(3):
        client = await proxy.connect()
        client.send(post(b"{}"))
        assert (await client.answer()).status == 502
    again = FakeUpstream()
    await again.start(port=upstream.port)
    begin_s = monotonic()
    client = await proxy.connect()
    client.send(post(b"{}"))
    server = await again.accept()
    await server.request()
    server.send(sized(b"after"))
    answer = await client.answer()
    await again.stop()

    assert answer.body == b"after"
    assert monotonic() - begin_s < 1


async def test_36_old_connections_are_not_used_again(
    start_proxy: StartProxy, upstream: FakeUpstream
) -> None:
    """However busy a connection is, another is dialled after `timeouts.upstream_age`."""
    proxy = await start_proxy(timeouts={"upstream_age": "300ms"})
    client = await proxy.connect()
    begin_s = monotonic()
    exchanges = 0
    while len(upstream.peers) < 2:
        client.send(post(b"{}"))
        await eventually(lambda: any(peer.received for peer in upstream.peers), "a request")
        (server,) = [peer for peer in upstream.peers if peer.received]
        await server.request()
        server.send(sized(b"ok"))
        assert (await client.answer()).status == 200
        exchanges += 1
    aged_s = monotonic() - begin_s

    assert exchanges > 2
    assert aged_s >= 0.3
    assert upstream.peers[0].ending


def find_wrapper() -> Path:
    """Return the library that reads host names from a file of the test's."""
    wrapper = next(Path("/usr/lib").glob("*/libnss_wrapper.so"), None)
    if wrapper is None:
        skip_or_fail("libnss-wrapper is not installed")
    return wrapper


async def test_36_a_change_of_dns_is_followed(tmp_path: Path) -> None:
    """When the upstream's name stands for another address, new connections go there."""
    wrapper = find_wrapper()
    hosts = tmp_path / "hosts"
    hosts.write_text("127.0.0.1 model.test\n")
    environment = {"LD_PRELOAD": str(wrapper), "NSS_WRAPPER_HOSTS": str(hosts)}
    old, new = FakeUpstream(), FakeUpstream()
    await old.start()
    await new.start(host="127.0.0.2", port=old.port)
    async with serving(
        f"http://model.test:{old.port}",
        *("--timeouts.upstream-age", "100ms"),
        environment=environment,
    ) as proxy:
        client = await proxy.connect()
        client.send(post(b"{}"))
        before = await old.accept()
        await before.request()
        hosts.write_text("127.0.0.2 model.test\n")
        later_s = hosts.stat().st_mtime + 10  # whatever the resolution of its comparison
        os.utime(hosts, (later_s, later_s))
        await asyncio.sleep(0.15)
        before.send(sized(b"old"))
        assert (await client.answer()).body == b"old"
        client.send(post(b"{}"))
        after = await new.accept()
        await after.request()
        after.send(sized(b"new"))

        assert (await client.answer()).body == b"new"
        assert await before.ended()
    await old.stop()
    await new.stop()
