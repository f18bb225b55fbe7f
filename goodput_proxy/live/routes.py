"""The live page and the JSON API on the admin listener.

The history is read in the event loop, which takes microseconds; documents are made of it in a
thread, that no token waits for them.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, suppress
from functools import partial
from time import monotonic_ns, time
from typing import TYPE_CHECKING

import msgspec
from aiohttp import web

from .assets import HEADERS, Assets
from .feed import Feed
from .history import History
from .requestlist import list_requests
from .summary import summarize

if TYPE_CHECKING:
    from collections.abc import Callable

    from goodput_proxy.judged import JudgedRequest
    from goodput_proxy.metrics import Metrics
    from goodput_proxy.policy import Policy

# What a message of the stream repeats, for a listener that was late.
_REPEATED_S = 5
_RETRY_MS = 2000


class LiveView:
    """What is seen of the proxy without a Prometheus.

    Args:
        policy: the classes in force.
        metrics: asked for the bounded names of models, and for what is in flight.
    """

    def __init__(self, policy: Policy, metrics: Metrics) -> None:
        self._metrics = metrics
        self._history = History(policy, metrics.label_of, monotonic_ns())
        self._feed = Feed(self._make_message)
        self._assets = Assets()
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="live")
        self.proxy_url = ""

    def observe(self, judged: JudgedRequest) -> None:
        """Count a request that has just been judged."""
        self._history.observe(judged, monotonic_ns())

    def apply(self, policy: Policy) -> None:
        """Go on with another policy."""
        self._history.apply(policy, monotonic_ns())

    def add_routes(self, app: web.Application) -> None:
        """Serve the page at `/`, its files below `/live/`, and the API below `/api/v1/`."""
        app.router.add_get("/", self._serve_page)
        app.router.add_get("/live/{name:.+}", self._serve_file)
        app.router.add_get("/api/v1/summary", self._serve_summary)
        app.router.add_get("/api/v1/requests", self._serve_requests)
        app.router.add_get("/api/v1/stream", self._serve_stream, allow_head=False)
        app.on_shutdown.append(self._end_streams)

    def close(self) -> None:
        """Let the thread go."""
        self._worker.shutdown(wait=False)

    async def _end_streams(self, app: web.Application) -> None:
        del app
        self._feed.close()

    async def _serve_page(self, request: web.Request) -> web.Response:
        return self._assets.serve("index.html", request)

    async def _serve_file(self, request: web.Request) -> web.Response:
        return self._assets.serve(request.match_info["name"], request)

    async def _serve_summary(self, request: web.Request) -> web.Response:
        del request
        return _json(await self._in_thread(self._make_summary()))

    async def _serve_requests(self, request: web.Request) -> web.Response:
        del request
        now_ns = monotonic_ns()
        latest, worst = self._history.requests(now_ns)
        make = partial(list_requests, latest, worst, now_ns=now_ns, unix_s=time())
        return _json(await self._in_thread(make))

    async def _serve_stream(self, request: web.Request) -> web.StreamResponse:
        if self._feed.full:
            raise web.HTTPServiceUnavailable(text="too many listeners\n")
        response = web.StreamResponse(
            headers={**HEADERS, "Content-Type": "text/event-stream", "Cache-Control": "no-store"}
        )
        expected = -1
        with suppress(ConnectionError):  # the listener has left
            await response.prepare(request)
            await response.write(b"retry: %d\n\n" % _RETRY_MS)
            await response.write(_event(await self._in_thread(self._make_summary())))
            async with aclosing(self._feed.listen()) as messages:
                async for number, message in messages:
                    late = expected not in {-1, number}
                    expected = number + 1
                    await response.write(
                        _event(await self._in_thread(self._make_summary())) if late else message
                    )
        return response

    async def _make_message(self) -> bytes:
        return _event(await self._in_thread(self._make_summary(_REPEATED_S)))

    def _make_summary(self, seconds: int | None = None) -> Callable[[], msgspec.Struct]:
        """Return what makes a summary of this moment."""
        return partial(
            summarize,
            self._history.counts(monotonic_ns()),
            unix_s=time(),
            proxy_url=self.proxy_url,
            in_flight=self._metrics.in_flight,
            seconds=seconds,
        )

    async def _in_thread(self, make: Callable[[], msgspec.Struct]) -> bytes:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._worker, lambda: msgspec.json.encode(make()))


def _event(document: bytes) -> bytes:
    return b"event: summary\ndata: %b\n\n" % document


def _json(body: bytes) -> web.Response:
    headers = {**HEADERS, "Cache-Control": "no-store"}
    return web.Response(body=body, content_type="application/json", headers=headers)
