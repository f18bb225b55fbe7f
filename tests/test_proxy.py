"""One request's story, between a fake client and a fake connection to the upstream."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import pytest
from aiohttp import StreamReader
from aiohttp.base_protocol import BaseProtocol
from aiohttp.web import RequestPayloadError

from goodput_proxy.meters import Meters
from goodput_proxy.metrics import Metrics
from goodput_proxy.policy import build_policy
from goodput_proxy.pool import UpstreamError
from goodput_proxy.proxy import Proxy, Request, UploadStalledError
from goodput_proxy.record import End
from goodput_proxy.settings import Settings
from goodput_proxy.upstream import UpstreamConnection
from tests.fakes import FakeTransport

if TYPE_CHECKING:
    from goodput_proxy.pool import UpstreamPool
    from goodput_proxy.relay import Relay

SETTINGS = Settings.model_validate(
    {
        "limits": {"body_scan_bytes": 2**18},
        "slo_classes": [
            {"name": "search", "match": {"path": "*/embeddings", "model": "e*"}, "e2e": "9s"}
        ],
    }
)
POLICY = build_policy(SETTINGS)
CHAT = "/v1/chat/completions"
HOST = (b"Host", b"x")
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
ANSWER = b'{"choices":[{"index":0,"message":{"content":"hi"},"finish_reason":"stop"}]}'
JSON_OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (
    len(ANSWER),
    ANSWER,
)


class FakePool:
    """A pool with one connection, or with none."""

    def __init__(self) -> None:
        self.transport = FakeTransport()
        self.connection = UpstreamConnection(
            asyncio.get_running_loop(), lambda _: None, max_head_bytes=1000, idle_s=600.0
        )
        self.connection.connection_made(self.transport)
        self.error: UpstreamError | None = None
        self.released = 0

    async def acquire(self) -> UpstreamConnection:
        if self.error is not None:
            raise self.error
        return self.connection

    def release(self, connection: UpstreamConnection) -> None:
        assert connection is self.connection
        self.released += 1
        if not connection.usable:
            connection.abort()


class Bench:
    """A proxy with real metrics around it."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.pool = FakePool()
        self.metrics = Metrics(POLICY, 32)
        pool = cast("UpstreamPool", self.pool)
        meters = Meters(POLICY, self.metrics, SETTINGS.limits, loop.call_soon)
        self.proxy = Proxy(pool, meters, SETTINGS.limits, tunnel_idle_s=60)
        self.client = FakeTransport()
        protocol = BaseProtocol(loop)
        protocol.transport = self.client
        self.body = StreamReader(protocol, 2**20, loop=loop)  # more than any test holds
        self.request = Request(
            method="POST",
            target=CHAT,
            version=(1, 1),
            headers=(HOST,),
            chunked=False,
            body=self.body,
            keep_alive=True,
            t0_ns=0,
            transport=self.client,
        )
        self.followed: list[Relay] = []

    async def begin(self, **changes: Any) -> asyncio.Task[bool]:
        """Begin a request and let it get as far as it does."""
        request = replace(self.request, **changes)
        task = asyncio.create_task(self.proxy.handle(request, self.followed.append))
        await settle()
        return task

    def upload(self, *pieces: bytes, end: bool = True) -> None:
        """Let a piece of the client's body arrive."""
        for piece in pieces:
            self.body.feed_data(piece)
        if end:
            self.body.feed_eof()

    def respond(self, data: bytes) -> None:
        """Let bytes arrive from the upstream."""
        self.pool.connection.data_received(data)

    def count(self, name: str, **labels: str) -> float:
        """Return the sum of the samples of a metric that have these labels."""
        return sum(
            sample.value
            for family in self.metrics.registry.collect()
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )


async def settle() -> None:
    """Let tasks run as far as they get."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_story() -> None:
    """Head and body go up, the answer comes back, the connection is kept, the request counted."""
    bench = Bench()
    bench.upload(b'{"model":"m"}')
    task = await bench.begin(headers=(HOST, (b"Content-Length", b"13")))
    assert bench.pool.transport.take() == [
        b'POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 13\r\n\r\n{"model":"m"}'
    ]
    assert (bench.proxy.in_flight, bench.count("goodput_requests_in_flight")) == (1, 1)
    bench.respond(JSON_OK)

    assert await task
    assert bench.client.written == JSON_OK
    assert len(bench.followed) == 1
    assert (bench.proxy.in_flight, bench.count("goodput_requests_in_flight")) == (0, 0)
    assert bench.pool.released == 1
    assert not bench.pool.transport.aborted
    assert bench.count("goodput_requests_total", model="m") == 1
    for stage in ("request", "upload"):
        name = "goodput_proxy_overhead_seconds_count"
        assert bench.count(name, stage=stage) == 1


async def test_other_traffic() -> None:
    """What is not inference is forwarded and counted apart."""
    bench = Bench()
    bench.upload()
    task = await bench.begin(method="GET", target="/v1/models?a")
    bench.respond(OK)

    assert await task
    assert bench.count("goodput_passthrough_requests_total", kind="metadata") == 1
    assert bench.count("goodput_requests_total") == 0


@pytest.mark.parametrize(
    ("path", "model", "judged"),
    [("/v1/embeddings", "e5", 1), ("/v1/embeddings", "other", 0), ("/v1/rerank", "e5", 0)],
)
async def test_embeddings_are_judged_where_a_class_names_them(
    path: str, model: str, judged: int
) -> None:
    """Their path has to be named, and the class has to take them."""
    bench = Bench()
    bench.upload(b'{"model":"%b","input":"x"}' % model.encode())
    task = await bench.begin(target=path)
    bench.respond(JSON_OK)
    await task

    requests = bench.count("goodput_requests_total", api="embeddings", slo="search")
    aside = bench.count("goodput_passthrough_requests_total", kind="embedding")
    assert (requests, aside) == (judged, 1 - judged)


async def test_refusal() -> None:
    """What must not be forwarded is answered, counted and closes the connection."""
    bench = Bench()
    task = await bench.begin(version=(2, 0))

    assert not await task
    assert bench.client.written.startswith(b"HTTP/1.1 505 ")
    assert bench.pool.transport.writes == []
    assert bench.count("goodput_passthrough_requests_total", kind="refused") == 1
    assert bench.proxy.in_flight == 0


@pytest.mark.parametrize(
    ("end", "status", "cause"),
    [(End.CONNECT_FAILED, b"502", "connect"), (End.TIMED_OUT, b"504", "timeout")],
)
async def test_no_connection(end: End, status: bytes, cause: str) -> None:
    """Without a connection the answer says so, and the server is to blame."""
    bench = Bench()
    bench.pool.error = UpstreamError(end, "reason")
    task = await bench.begin()

    assert not await task
    assert bench.client.written.startswith(b"HTTP/1.1 " + status)
    assert bench.count("goodput_requests_total", verdict="error", cause=cause) == 1
    assert bench.proxy.in_flight == 0


async def test_chunked_upload() -> None:
    """A body goes up while it arrives; its end goes up when it has arrived."""
    bench = Bench()
    task = await bench.begin(chunked=True)
    bench.upload(b"abc", end=False)
    await settle()
    bench.upload(b"d", b"e", end=False)
    await settle()
    writes = bench.pool.transport.take()
    assert writes[0].endswith(b"\r\nTransfer-Encoding: chunked\r\n\r\n")
    assert writes[1:] == [b"3\r\nabc\r\n", b"2\r\nde\r\n"]
    bench.upload()
    await settle()
    assert b"".join(bench.pool.transport.take()) == b"0\r\n\r\n"
    bench.respond(OK)

    assert await task


async def test_upload_waits_for_the_server() -> None:
    """While the server does not read nothing is taken from the client."""
    bench = Bench()
    task = await bench.begin(chunked=True)
    bench.pool.connection.pause_writing()
    bench.upload(b"abc", end=False)
    await settle()
    bench.pool.transport.take()
    bench.upload(b"def", end=False)
    await settle()
    assert bench.pool.transport.take() == []
    bench.pool.connection.resume_writing()
    await settle()
    assert bench.pool.transport.take() == [b"3\r\ndef\r\n"]
    bench.upload()
    await settle()
    bench.respond(OK)

    assert await task


@pytest.mark.parametrize(("excess", "model"), [(-99, "m"), (0, "unknown")])
async def test_large_body_is_not_kept(excess: int, model: str) -> None:
    """A large body is forwarded whole; beyond the bound nobody looks for its model."""
    bench = Bench()
    size = SETTINGS.limits.body_scan_bytes + excess
    body = b'{"model":"m","padding":"' + b"x" * size + b'"}'
    bench.upload(body)
    task = await bench.begin()
    bench.respond(JSON_OK)
    await task

    assert bench.pool.transport.written.endswith(body)
    assert bench.count("goodput_requests_total", model=model) == 1


@pytest.mark.parametrize("pieces", [[], [b"{}"]])
async def test_expectation(pieces: list[bytes]) -> None:
    """Who waits to be asked for a body is asked, unless all of it is here."""
    bench = Bench()
    bench.upload(*pieces, end=bool(pieces))
    task = await bench.begin(headers=(HOST, (b"Expect", b"100-continue")))
    assert bench.client.take() == ([] if pieces else [b"HTTP/1.1 100 Continue\r\n\r\n"])
    if not pieces:
        bench.upload()
        await settle()
    bench.respond(OK)

    assert await task


async def test_early_answer() -> None:
    """An answer that comes before the end of the upload ends both."""
    bench = Bench()
    task = await bench.begin(chunked=True)
    bench.respond(OK)

    assert await task
    bench.upload(b"late", end=False)
    await settle()
    assert b"late" not in bench.pool.transport.written
    assert bench.pool.transport.aborted


@pytest.mark.parametrize("when", ["before it is read", "while it is read"])
async def test_malformed_body(when: str) -> None:
    """A spoiled upload is answered with 400 and has no end upstream."""
    bench = Bench()
    if when == "before it is read":
        bench.body.set_exception(RequestPayloadError("malformed"))
    task = await bench.begin(chunked=True)
    bench.body.set_exception(RequestPayloadError("malformed"))

    assert not await task
    assert bench.client.written.startswith(b"HTTP/1.1 400 ")
    body = bench.client.written.partition(b"\r\n\r\n")[2]
    assert json.loads(body)["error"]["code"] == "bad_body"
    assert b"0\r\n\r\n" not in bench.pool.transport.written
    assert bench.pool.transport.aborted


async def test_body_that_does_not_come() -> None:
    """An upload that the listener gives up is 408, and the caller's fault."""
    bench = Bench()
    task = await bench.begin(chunked=True)
    bench.body.set_exception(UploadStalledError("stalled"))

    assert not await task
    assert bench.client.written.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert bench.pool.transport.aborted
    assert bench.count("goodput_requests_total", verdict="client_error", cause="http_4xx") == 1


async def test_malformed_body_in_the_answer() -> None:
    """When the answer has begun, a spoiled upload cuts it."""
    bench = Bench()
    task = await bench.begin(chunked=True)
    bench.respond(OK[:-1])
    bench.body.set_exception(RequestPayloadError("malformed"))

    assert not await task
    assert bench.client.written == OK[:-1]


async def test_client_that_leaves() -> None:
    """A client that leaves closes the upstream's connection; it is not the server's fault."""
    bench = Bench()
    bench.upload()
    task = await bench.begin(t0_ns=10**18)
    bench.client.close()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert bench.pool.transport.aborted
    assert bench.count("goodput_requests_total", verdict="cancelled") == 1
    assert bench.proxy.in_flight == 0


@pytest.mark.parametrize("version", [(1, 0), (1, 1)])
async def test_deadline_of_the_drain(version: tuple[int, int]) -> None:
    """A stream that the proxy itself ends is cut where its client can see it."""
    bench = Bench()
    bench.upload()
    task = await bench.begin(version=version)
    bench.respond(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
    before = bench.client.written
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert bench.client.written == before
    assert bench.client.aborted is (version == (1, 0))
    assert bench.pool.transport.aborted
    assert bench.count("goodput_requests_total", verdict="error", cause="truncated") == 1


async def test_cancelled_after_the_end() -> None:
    """A response that is complete stays so, even if its handler is cancelled in that moment."""
    bench = Bench()
    bench.upload(b"{}")
    task = await bench.begin(t0_ns=10**18)
    bench.respond(JSON_OK)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert bench.count("goodput_requests_total", verdict="error") == 0
    assert bench.count("goodput_slo_compliant_requests_total") == 1


async def test_draining() -> None:
    """While the proxy drains, clients are told to go, also those whose answer has begun before."""
    bench = Bench()
    bench.upload()
    task = await bench.begin()
    bench.respond(OK[:-1])
    bench.proxy.draining = True
    bench.respond(OK[-1:])
    assert not await task
    assert b"Connection" not in bench.client.written

    late = Bench()
    late.proxy.draining = True
    late.upload()
    task = await late.begin()
    late.respond(OK)
    assert not await task
    assert b"\r\nConnection: close\r\n" in late.client.written
