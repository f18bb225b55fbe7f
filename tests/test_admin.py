"""The admin listener: what a scraper and a probe get."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import pytest
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families as parse_text

from goodput_proxy.admin import Admin
from goodput_proxy.live.routes import LiveView
from goodput_proxy.metrics import Metrics
from goodput_proxy.policy import Policy, SloClass
from goodput_proxy.slo import Limits

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiohttp import ClientResponse, web

    Client = TestClient[web.Request, web.Application]

OPENMETRICS = "application/openmetrics-text; version=1.0.0"


class Readiness:
    """Stands for the application: the reason why it is not ready, which a test may change."""

    def __init__(self) -> None:
        self.reason = ""
        self.asked = 0

    async def __call__(self) -> str:
        """Return the reason."""
        self.asked += 1
        return self.reason


@pytest.fixture
def readiness() -> Readiness:
    """Return a readiness that is fine at first."""
    return Readiness()


@pytest.fixture
async def client(readiness: Readiness) -> AsyncIterator[Client]:
    """Return a client of a listening admin, which decompresses nothing by itself."""
    policy = Policy((SloClass("default", Limits(), 0.95),))
    metrics = Metrics(policy, 32)
    admin = Admin(metrics, readiness, LiveView(policy, metrics))
    server = TestServer(admin.application())
    async with TestClient(server, auto_decompress=False) as client:
        yield client
    admin.close()


async def get(client: Client, path: str, **headers: str) -> ClientResponse:
    """Send a GET; aiohttp's own wish for compression is taken back."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await client.get(path, headers={"Accept-Encoding": "identity", **named})


async def test_metrics_in_the_text_format(client: Client) -> None:
    """Without a wish, `/metrics` is Prometheus' text format, uncompressed."""
    response = await get(client, "/metrics")
    assert response.status == 200
    assert response.headers["Content-Type"].startswith("text/plain; version=")
    assert "charset=utf-8" in response.headers["Content-Type"]
    assert "Content-Encoding" not in response.headers
    names = {family.name for family in parse_text(await response.text())}
    assert "goodput_requests" in names


async def test_metrics_in_openmetrics(client: Client) -> None:
    """Who accepts OpenMetrics gets it."""
    response = await get(client, "/metrics", Accept=f"{OPENMETRICS},text/plain;q=0.5")
    assert response.headers["Content-Type"].startswith("application/openmetrics-text; version=")
    families = parse_openmetrics(await response.text())  # type: ignore[no-untyped-call]
    assert "goodput_requests" in {family.name for family in families}


@pytest.mark.parametrize("accept", ["text/plain", OPENMETRICS])
async def test_metrics_are_compressed_on_request(accept: str, client: Client) -> None:
    """Prometheus asks for gzip; the content type is that of what is inside."""
    plain = await get(client, "/metrics", Accept=accept)
    packed = await get(client, "/metrics", Accept=accept, Accept_Encoding="deflate, gzip")
    assert packed.headers["Content-Encoding"] == "gzip"
    assert packed.headers["Content-Type"] == plain.headers["Content-Type"]
    body = await packed.read()
    assert len(body) < len(await plain.read()) / 3
    assert b"\ngoodput_requests_total{" in gzip.decompress(body)


@pytest.mark.parametrize(
    ("accept", "coding"),
    [
        ("gzip", "gzip"),
        ("br;q=1.0, GZIP ; q=0.5", "gzip"),
        ("gzip;q=0", None),
        ("gzip; Q=0.000, identity", None),
        ("x-gzip-like, br", None),
        ("", None),
    ],
)
async def test_what_counts_as_a_wish_for_gzip(
    accept: str, coding: str | None, client: Client
) -> None:
    """A weight of 0 is a refusal."""
    response = await get(client, "/metrics", Accept_Encoding=accept)

    assert response.headers.get("Content-Encoding") == coding


async def test_health_speaks_of_this_process_alone(client: Client, readiness: Readiness) -> None:
    """`/healthz` is fine while the upstream is not: restarting the proxy would heal nothing."""
    readiness.reason = "the upstream is not reachable"
    response = await get(client, "/healthz")
    assert (response.status, await response.text()) == (200, "ok\n")
    assert readiness.asked == 0


async def test_readiness_follows_its_reason(client: Client, readiness: Readiness) -> None:
    """`/readyz` is asked anew each time: 200 while nothing is in the way, else 503 and why."""
    for reason, status, text in (
        ("", 200, "ok\n"),
        ("draining", 503, "draining\n"),
        ("", 200, "ok\n"),
    ):
        readiness.reason = reason
        response = await get(client, "/readyz")
        assert (response.status, await response.text()) == (status, text)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("HEAD", "/healthz", 200),
        ("HEAD", "/metrics", 200),
        ("POST", "/metrics", 405),
        ("GET", "/v1/models", 404),
        ("GET", "/metrics/x", 404),
    ],
)
async def test_nothing_else_is_served(method: str, path: str, status: int, client: Client) -> None:
    """The admin port answers its own paths and none of the inference server's."""
    response = await client.request(method, path)
    assert response.status == status
