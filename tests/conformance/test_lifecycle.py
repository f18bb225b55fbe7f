"""Promise 41: SIGTERM. Nobody new, everybody that is here to the end, and an end to waiting."""

from __future__ import annotations

import signal
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
    sized,
    token,
)
from tests.integration.process import serving

if TYPE_CHECKING:
    from tests.integration.fake_upstream import FakeUpstream, Peer
    from tests.integration.process import ProxyProcess

REST = chunk(token()) + chunk(FINISH + DONE) + LAST_CHUNK


async def begin_stream(
    proxy: ProxyProcess, upstream: FakeUpstream, version: bytes = b"1.1"
) -> tuple[Peer, Peer]:
    """Start a stream and return its client and server when the first token has passed."""
    client = await proxy.connect()
    client.send(post(b"{}", version=version))
    server = await upstream.accept()
    await server.request()
    server.send(SSE_HEAD, chunk(token()))
    await client.until(rb"\n\n")
    return client, server


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_41_a_stream_finishes(upstream: FakeUpstream, number: signal.Signals) -> None:
    """A stream that runs when the signal comes runs to its end, and then the process ends well."""
    async with serving(upstream.url) as proxy:
        assert (await get(proxy.admin_port, "/readyz")).status == 200
        await (await upstream.accept()).ended()  # the probe's own connection
        client, server = await begin_stream(proxy, upstream)
        idle = await proxy.connect()
        proxy.signal(number)
        await proxy.logged("draining")
        ready = await get(proxy.admin_port, "/readyz")
        assert (ready.status, ready.body) == (503, b"draining\n")
        assert (await get(proxy.admin_port, "/healthz")).status == 200
        await idle.ended()
        with pytest.raises(ConnectionRefusedError):
            await proxy.connect()
        assert client.ending is None
        assert (await scrape(proxy.admin_port)).total("goodput_requests_in_flight") == 1
        server.send(REST)
        answer = await client.answer()

        assert answer.complete
        assert answer.body.endswith(DONE)
        assert await client.ended() == "fin"
        assert await proxy.exit_code() == 0


async def test_41_an_upload_finishes(upstream: FakeUpstream) -> None:
    """A request that is still being sent when the signal comes arrives whole."""
    async with serving(upstream.url) as proxy:
        client = await proxy.connect()
        head, _, body = post(b"x" * 1000).partition(b"\r\n\r\n")
        client.send(head + b"\r\n\r\n" + body[:500])
        server = await upstream.accept()
        await server.until(b"x$")
        idle = await proxy.connect()
        proxy.signal()
        await idle.ended()
        client.send(body[500:])
        assert (await server.request())[1] == body
        server.send(sized(b"ok"))

        assert (await client.answer()).body == b"ok"
        assert await proxy.exit_code() == 0


async def test_41_requests_are_served_during_the_delay(upstream: FakeUpstream) -> None:
    """During the delay requests are still taken, but their connections close."""
    async with serving(upstream.url, "--drain.delay", "1s") as proxy:
        kept = await proxy.connect()
        kept.send(post(b"{}"))
        server = await upstream.accept()
        await server.request()
        server.send(sized(b"ok"))
        assert (await kept.answer()).header(b"Connection") is None
        proxy.signal()
        await proxy.logged("draining")
        assert (await get(proxy.admin_port, "/readyz")).status == 503
        for client in (kept, await proxy.connect()):
            client.send(post(b"{}"))
            await server.request()
            server.send(sized(b"ok"))
            assert (await client.answer()).header(b"Connection") == b"close"
            assert await client.ended() == "fin"

        assert await proxy.exit_code() == 0


@pytest.mark.parametrize(("version", "ending"), [(b"1.1", "fin"), (b"1.0", "rst")])
async def test_41_a_long_stream_is_cut_visibly(
    upstream: FakeUpstream, version: bytes, ending: str
) -> None:
    """A stream that outlasts the drain is cut so that its client sees it; the exit is still 0."""
    async with serving(upstream.url, "--drain.timeout", "200ms") as proxy:
        client, server = await begin_stream(proxy, upstream, version)
        started = monotonic()
        proxy.signal()

        assert await client.ended() == ending
        assert not (await client.answer()).complete
        await server.ended()
        assert await proxy.exit_code() == 0
        assert 0.2 <= monotonic() - started < 3


async def test_request_without_an_answer_is_cut(upstream: FakeUpstream) -> None:
    """A request that is not even answered when the drain ends ends with its connection."""
    async with serving(upstream.url, "--drain.timeout", "100ms") as proxy:
        client = await proxy.connect()
        client.send(post(b"{}"))
        server = await upstream.accept()
        await server.request()
        proxy.signal()

        assert await client.ended() == "fin"
        assert client.size == 0
        assert await proxy.exit_code() == 0


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
async def test_41_a_second_signal_forces(
    upstream: FakeUpstream, number: signal.Signals, code: int
) -> None:
    """Who asks twice does not want to wait, and the exit code tells that it was no clean end."""
    async with serving(upstream.url, "--drain.timeout", "1h") as proxy:
        client, _ = await begin_stream(proxy, upstream)
        proxy.signal()
        await proxy.logged("draining")
        assert client.ending is None
        started = monotonic()
        proxy.signal(number)
        await proxy.logged("forced to stop")

        assert await client.ended() == "fin"
        assert not (await client.answer()).complete
        assert await proxy.exit_code() == code
        assert monotonic() - started < 3


async def test_41_an_unfinished_head_is_closed(upstream: FakeUpstream) -> None:
    """A connection on which no whole head has come is idle: it is closed without a word."""
    async with serving(upstream.url) as proxy:
        client = await proxy.connect()
        client.send(post(b"{}")[:-10])
        await client.flush()
        proxy.signal()

        assert await client.ended()
        assert client.size == 0
        assert await proxy.exit_code() == 0


async def test_counts_can_be_read_until_the_end(upstream: FakeUpstream) -> None:
    """What the last streams came to can be scraped while others still run."""
    async with serving(upstream.url, "--slo.ttft", "60s", "--slo.itl", "60s") as proxy:
        first, first_server = await begin_stream(proxy, upstream)
        second, second_server = await begin_stream(proxy, upstream)
        proxy.signal()
        await proxy.logged("draining")
        first_server.send(REST)
        await first.answer()
        await first.ended()  # the drain closes it, after the request was counted
        samples = await scrape(proxy.admin_port)
        assert samples.verdicts() == {("good", ""): 1}
        second_server.send(REST)
        await second.answer()

        assert await proxy.exit_code() == 0


async def test_nothing_runs(upstream: FakeUpstream) -> None:
    """Without requests the process ends at once."""
    async with serving(upstream.url) as proxy:
        started = monotonic()
        proxy.signal()

        assert await proxy.exit_code() == 0
        assert monotonic() - started < 2
