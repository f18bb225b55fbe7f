"""The page and the API on a listener: what is served, by which rules, and that it is documented."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from goodput_proxy.live import feed as feed_module
from goodput_proxy.live.documents import Requests, Summary
from goodput_proxy.live.routes import LiveView
from goodput_proxy.metrics import Metrics
from goodput_proxy.policy import Policy, SloClass
from goodput_proxy.record import Outcome
from goodput_proxy.slo import Limits
from tests.live.traffic import CHAT, DEFAULT, MS, POLICY, ended, failed, slow
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from aiohttp import ClientResponse

    Client = TestClient[web.Request, web.Application]

ROOT = Path(__file__).parent.parent.parent
SCHEMA: dict[str, Any] = json.loads((ROOT / "docs/api-v1.schema.json").read_text("utf-8"))
TRAFFIC = (
    *(ended(DEFAULT, in_flight=n) for n in range(1, 40)),
    *(slow(ttft_ms) for ttft_ms in (600, 3000)),
    ended(itl_ms=None, tokens=1, headers=[(b"x-request-id", b"r-7")]),
    failed(),
    failed(Outcome.CONNECT),
    failed(Outcome.HTTP_4XX),
)


@pytest.fixture
def live() -> LiveView:
    """Return a view that has seen some traffic."""
    view = LiveView(POLICY, Metrics(POLICY, 32))
    view.proxy_url = "http://127.0.0.1:9000"
    for judged in TRAFFIC:
        view.observe(judged)
    return view


@pytest.fixture
async def client(live: LiveView) -> AsyncIterator[Client]:
    """Return a client of a listener that serves the view."""
    app = web.Application()
    live.add_routes(app)
    async with TestClient(TestServer(app)) as client:
        yield client
    live.close()


def check(document: Any, name: str) -> None:
    """Hold a document to the published schema."""
    schema = {**SCHEMA, "$ref": f"#/$defs/{name}"}
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(schema).validate(document)


async def read_event(response: ClientResponse) -> tuple[str, Any]:
    """Return the kind of the next event of a stream and its document."""
    async with asyncio.timeout(10):
        lines = (await response.content.readuntil(b"\n\n")).decode().splitlines()
    fields = dict(line.split(": ", 1) for line in lines if line)
    return fields.get("event", ""), json.loads(fields["data"]) if "data" in fields else fields


@pytest.mark.parametrize(
    ("path", "name", "kind"),
    [("/api/v1/summary", "Summary", Summary), ("/api/v1/requests", "Requests", Requests)],
)
async def test_documents_keep_to_the_schema(
    path: str, name: str, kind: type[msgspec.Struct], client: Client
) -> None:
    """What is served is what is published, with traffic of every kind in it."""
    response = await client.get(path)
    body = await response.read()
    check(json.loads(body), name)

    assert response.content_type == "application/json"
    assert response.headers["Cache-Control"] == "no-store"
    assert msgspec.json.encode(msgspec.json.decode(body, type=kind)) == body


async def test_documents_of_an_idle_proxy_keep_to_the_schema() -> None:
    """Where nothing is known there is null, or nothing."""
    view = LiveView(POLICY, Metrics(POLICY, 32))
    view.observe(ended(ttft_ms=None, itl_ms=None, outcome=Outcome.CLIENT))
    app = web.Application()
    view.add_routes(app)
    async with TestClient(TestServer(app)) as client:
        check(await (await client.get("/api/v1/summary")).json(), "Summary")
        check(await (await client.get("/api/v1/requests")).json(), "Requests")
    view.close()


def test_the_schema_refuses_what_it_should() -> None:
    """A document without a field, or with one of another type, is no document."""
    with pytest.raises(jsonschema.ValidationError, match="'latest' is a required property"):
        check({"api": "v1", "unix_s": 1, "worst": []}, "Requests")
    with pytest.raises(jsonschema.ValidationError, match="'v1'"):
        check({"api": "v2", "unix_s": 1, "latest": [], "worst": []}, "Requests")


async def test_the_summary_has_seen_the_traffic(client: Client) -> None:
    """Every request is counted, by verdict and by class."""
    summary = await (await client.get("/api/v1/summary")).json()

    assert summary["requests"] == len(TRAFFIC)
    assert sum(entry["ever"] for entry in summary["verdicts"]) == len(TRAFFIC)
    assert [slo["name"] for slo in summary["classes"]] == ["chat", "default"]
    assert summary["classes"][1]["knee_in_flight"] is None  # no band has 20 requests


async def test_the_stream_starts_whole_and_goes_on_in_parts(client: Client, live: LiveView) -> None:
    """A summary at once, then one a second with what is new; each keeps to the schema."""
    response = await client.get("/api/v1/stream")
    assert response.content_type == "text/event-stream"
    assert await read_event(response) == ("", {"retry": "2000"})
    kind, first = await read_event(response)
    live.observe(ended())
    events = [await read_event(response) for _ in range(2)]
    for summary in (first, *(document for _, document in events)):
        check(summary, "Summary")

    assert {kind, *(name for name, _ in events)} == {"summary"}
    assert events[0][1]["requests"] == first["requests"] + 1
    ends = [s["series"]["begin"] + len(s["series"]["good"]) for _, s in events]
    assert ends[1] == ends[0] + 1
    assert all(len(summary["series"]["good"]) <= 5 for _, summary in events)
    response.close()


async def test_a_late_listener_gets_a_whole_summary(
    client: Client, live: LiveView, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who missed a message is not left with a gap."""
    response = await client.get("/api/v1/stream")
    await read_event(response)
    await read_event(response)
    await read_event(response)
    made = live._make_summary
    asked: list[int | None] = []

    def make(seconds: int | None = None) -> Callable[[], msgspec.Struct]:
        asked.append(seconds)
        return made(seconds)

    monkeypatch.setattr(live, "_make_summary", make)
    live._feed._number += 1  # as if it had been busy with the one before
    await read_event(response)

    assert None in asked
    response.close()


async def test_a_listener_that_has_left_is_forgotten(client: Client, live: LiveView) -> None:
    """Its connection is noticed at the next message, and nothing is made any more."""
    response = await client.get("/api/v1/stream")
    await read_event(response)
    response.close()
    await eventually(lambda: not live._feed._listeners and live._feed._task is None, "all is still")


async def test_too_many_listeners(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next one is told so, and not left waiting."""
    monkeypatch.setattr(feed_module, "MAX_LISTENERS", 0)
    response = await client.get("/api/v1/stream")

    assert response.status == 503


async def test_a_stream_does_not_hold_the_shutdown_up(live: LiveView) -> None:
    """Listeners are let go at once, since the metrics can be scraped until the last moment."""
    app = web.Application()
    live.add_routes(app)
    server = TestServer(app)
    async with TestClient(server) as client:
        response = await client.get("/api/v1/stream")
        await read_event(response)
        async with asyncio.timeout(5):
            await server.close()
            await response.content.read()
    live.close()


@pytest.mark.parametrize(
    ("path", "content_type"),
    [
        ("/", "text/html"),
        ("/live/main.js", "text/javascript"),
        ("/live/page.css", "text/css"),
        ("/live/icon.svg", "image/svg+xml"),
        ("/live/vendor/uplot/uPlot.iife.min.js", "text/javascript"),
    ],
)
async def test_files_of_the_page(path: str, content_type: str, client: Client) -> None:
    """Each has its type, a tag by which it is not sent twice, and the strict policy."""
    response = await client.get(path)
    again = await client.get(path, headers={"If-None-Match": response.headers["ETag"]})
    other = await client.get(path, headers={"If-None-Match": '"0123456789abcdef"'})

    assert (response.status, response.content_type) == (200, content_type)
    assert (again.status, await again.read()) == (304, b"")
    assert again.headers["ETag"] == response.headers["ETag"]
    assert other.status == 200
    for answer in (response, again):
        policy = answer.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none';")
        assert "unsafe" not in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cache-Control"] == "no-cache"


@pytest.mark.parametrize(
    "path",
    [
        "/live/",
        "/live/x.js",
        "/live/index.html/x",
        "/live/vendor/uplot/LICENSE",
        "/live/static",
        "/live/../routes.py",
        "/live/%2e%2e/routes.py",
        "/api/v2/summary",
        "/api/v1/",
    ],
)
async def test_nothing_else_is_served(path: str, client: Client) -> None:
    """What is not a file of the page does not exist."""
    assert (await client.get(path)).status == 404


async def test_another_policy_shows_at_once(client: Client, live: LiveView) -> None:
    """Classes and limits are those in force."""
    live.apply(Policy((SloClass("only", Limits(e2e_ns=5 * MS), 0.5),)))
    summary = await (await client.get("/api/v1/summary")).json()

    assert [slo["name"] for slo in summary["classes"]] == ["only"]
    assert summary["classes"][0]["limits"]["e2e_ms"] == 5.0
    assert CHAT.name not in json.dumps(summary["classes"])
