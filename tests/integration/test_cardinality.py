"""What strangers may write into a request creates no more series than was allowed for."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, cast

import pytest

from tests.integration.harness import post, sized
from tests.waiting import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable

    from tests.integration.conftest import StartProxy
    from tests.integration.harness import RunningProxy
    from tests.samples import Samples

REQUESTS = 10_000
CONNECTIONS = 8
# As many as are sent on a connection before their answers are waited for.
PIPELINED = 50
ANSWER = sized(
    b'{"choices":[{"index":0,"message":{"content":"hi"},"finish_reason":"stop"}]}',
    b"200 OK",
    b"Content-Type: application/json",
)


class Answering(asyncio.Protocol):
    """A server that answers every request in the same way, as fast as it can."""

    def __init__(self) -> None:
        self._held = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Answer when the request is whole; the proxy sends one at a time."""
        self._held += data
        head, end, body = self._held.partition(b"\r\n\r\n")
        size = re.search(rb"Content-Length: (\d+)", head)
        if end and size and len(body) == int(size[1]) and self._transport:
            self._held = b""
            self._transport.write(ANSWER)


@pytest.fixture
async def answering() -> AsyncIterator[str]:
    """Return the URL of a server that answers everything."""
    server = await asyncio.get_running_loop().create_server(Answering, "127.0.0.1", 0)
    yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    server.close()


async def pour(proxy: RunningProxy, make: Callable[[int], bytes], numbers: Iterable[int]) -> None:
    """Send numbered requests on one connection, many at a time."""
    client = await proxy.connect()
    client.keep = False
    numbers = list(numbers)
    for i in range(0, len(numbers), PIPELINED):
        some = numbers[i : i + PIPELINED]
        client.send(b"".join(make(number) for number in some))
        await client.until_size(client.size + len(some) * len(ANSWER))


async def flood(proxy: RunningProxy, make: Callable[[int], bytes]) -> Samples:
    """Send all requests; return the metrics when each has been judged."""
    before = (await proxy.samples()).total("goodput_requests_total")
    async with asyncio.timeout(6 * PATIENCE_S):
        await asyncio.gather(
            *(pour(proxy, make, range(i, REQUESTS, CONNECTIONS)) for i in range(CONNECTIONS))
        )
    samples = await proxy.samples()
    assert samples.total("goodput_requests_total") == before + REQUESTS
    return samples


def series(samples: Samples) -> set[tuple[str, frozenset[tuple[str, str]]]]:
    """Return the names and labels of a scrape, but for what depends on time and load alone."""
    return {
        (name, frozenset(pair for pair in have if pair[0] != "in_flight"))
        for name, have in samples.values
        if not name.startswith("goodput_event_loop_lag")
    }


async def test_models(start_proxy: StartProxy, answering: str) -> None:
    """However many models are asked for, a bounded number has series, and `other` the rest."""
    proxy = await start_proxy(upstream=answering)

    def make(number: int) -> bytes:
        if number % 2:  # named by the path, as Azure does
            return post(b"{}", path=b"/openai/deployments/m-%d/chat/completions" % number)
        return post(b'{"model":"m-%d"}' % number)

    samples = await flood(proxy, make)
    models = {dict(have).get("model") for _, have in samples.values} - {None}
    kept = models - {"unknown", "other"}

    assert len(models) == 32 + 1
    assert len(kept) == 31
    assert samples.total("goodput_requests_total", model="other") == REQUESTS - len(kept)


async def test_headers(start_proxy: StartProxy, answering: str) -> None:
    """Whatever the values of headers are, valid or not, no series is made for them."""
    proxy = await start_proxy(
        upstream=answering,
        slo_headers={"limits": True, "classes": True},
        slo_classes=[{"name": "tenants", "match": {"headers": {"x-tenant": "t-*"}}, "e2e": "1m"}],
    )
    client = await proxy.connect()
    for tenant in (b"t-0", b"-"):
        client.send(post(b'{"model":"m"}', b"X-Tenant: " + tenant))
        assert (await client.answer()).status == 200
    before = await proxy.samples()

    def make(number: int) -> bytes:
        return post(
            b'{"model":"m"}',
            b"X-Tenant: %c-%d" % (b"tu"[number % 2], number),
            b"X-SLO-Class: c-%d" % number,
            b"X-SLO-TTFT-ms: %d" % (1000 * number),  # from 600,000 on too much
            b"X-SLO-TPOT-ms: 1%da" % number,
            b"X-Request-Id: r-%d" % number,
            b"Traceparent: 00-%032x-%016x-01" % (number + 1, number + 1),
        )

    samples = await flood(proxy, make)

    assert series(samples) == series(before)
    errors = {
        reason: samples.total("goodput_slo_header_errors_total", reason=reason)
        for reason in ("unknown_class", "not_a_number", "out_of_bounds", "conflicting")
    }
    assert errors == {
        "unknown_class": REQUESTS,
        "not_a_number": REQUESTS,
        "out_of_bounds": REQUESTS - 600,
        "conflicting": 0,
    }
