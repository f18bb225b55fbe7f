"""Promises 24 and 25: what the upstream flushes is not waited with."""

from __future__ import annotations

from time import monotonic_ns
from typing import TYPE_CHECKING

from tests.integration.harness import SSE_HEAD, chunk, post, token

if TYPE_CHECKING:
    from tests.integration.harness import RunningProxy

# Far above what the proxy takes, far below the 40 ms of a delayed acknowledgement.
MEDIAN_LIMIT_MS = 10.0


async def test_24_the_head_arrives_before_the_first_byte_of_the_body(proxy: RunningProxy) -> None:
    """The client has the head before the first body byte exists."""
    client, server = await proxy.begin(post(b"{}"))
    server.send(SSE_HEAD)

    assert await client.until_head() == SSE_HEAD


async def test_25_each_flush_arrives_as_it_was_sent(proxy: RunningProxy) -> None:
    """What the upstream flushes is passed on without waiting for more, and chunks stay whole."""
    client, server = await proxy.begin(post(b"{}"))
    server.send(SSE_HEAD)
    await client.until_head()
    client.take()
    for piece in (b"a", b"b" * 5000, token(), b"\n"):
        server.send(chunk(piece))
        await client.until_size(server.wrote)
        assert client.take() == chunk(piece)
    two = chunk(token("a")) + chunk(token("b"))
    server.send(two)
    await client.until_size(server.wrote)
    assert client.take() == two


async def test_25_no_timer_holds_a_single_byte(proxy: RunningProxy) -> None:
    """A byte is there long before Nagle's algorithm or a delayed acknowledgement would send it."""
    client, server = await proxy.begin(post(b"{}"))
    server.send(SSE_HEAD)
    await client.until_head()
    times_ns = []
    for _ in range(101):
        begin_ns = monotonic_ns()
        server.send(chunk(b"a"))
        await client.until_size(server.wrote)
        times_ns.append(monotonic_ns() - begin_ns)

    assert sorted(times_ns)[50] / 10**6 < MEDIAN_LIMIT_MS
