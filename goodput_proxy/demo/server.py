"""The simulated inference server: the engine behind OpenAI's API over HTTP.

Owns the listening socket, the clock and the requests in progress; the engine decides who runs and
how long, `shapes` what is said. It must not know the proxy. The rules it keeps are a real server's:
headers leave before prefill begins, each record is one write, and a client that disconnects frees
its slot at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import msgspec
from aiohttp import web
from yarl import URL

from goodput_proxy import __version__

from . import shapes
from .engine import Engine, Profile, Sequence, Token

if TYPE_CHECKING:
    from collections.abc import Iterator

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

# Prompts of tens of thousands of words pass; anything beyond is a mistake.
MAX_BODY_BYTES = 16 * 1024 * 1024

# An accelerator does not wait for a busy machine: steps that a stall delayed follow at once, unless
# it was longer than this (a laptop that slept).
MAX_CATCH_UP_NS = 1_000_000_000


class SimulatedServer:
    """An OpenAI-compatible server that generates nothing, at the pace of a GPU.

    The counters `started`, `finished` and `aborted` count generations; `started` equals the other
    two plus those that wait or run.
    """

    def __init__(self, profile: Profile | None = None, seed: int = 0) -> None:
        self._engine = Engine(profile or Profile(), seed)
        self._outputs: dict[Sequence, asyncio.Queue[Token]] = {}
        self._work = asyncio.Event()
        self._pump: asyncio.Task[None] | None = None
        self._runner: web.AppRunner | None = None
        self.started = 0
        self.finished = 0
        self.aborted = 0

    @property
    def running(self) -> int:
        """Sequences in the batch."""
        return self._engine.running

    @property
    def waiting(self) -> int:
        """Sequences in the prefill queue."""
        return self._engine.waiting

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> str:
        """Listen, begin to step, and return the server's URL."""
        app = web.Application(client_max_size=MAX_BODY_BYTES)
        app.add_routes(
            [
                web.post(
                    "/v1/chat/completions", self._endpoint(shapes.ChatBody, shapes.ChatAnswer)
                ),
                web.post(
                    "/v1/completions",
                    self._endpoint(shapes.CompletionBody, shapes.CompletionAnswer),
                ),
                web.get("/v1/models", _models),
                web.get("/health", _health),
                web.get("/version", _version),
            ]
        )
        self._runner = web.AppRunner(
            app, handler_cancellation=True, access_log=None, shutdown_timeout=0.1
        )
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port).start()
        self._pump = asyncio.create_task(self._step_forever(), name="simulated-engine")
        bound_host, bound_port = self._runner.addresses[0][:2]
        return str(URL.build(scheme="http", host=bound_host, port=bound_port))

    async def stop(self) -> None:
        """Close the socket, abort what is in progress, and stop stepping."""
        if self._runner is not None:
            await self._runner.cleanup()
        if self._pump is not None:
            self._pump.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._pump

    async def _step_forever(self) -> None:
        """Step the engine in real time; sleep while there is nothing to do."""
        deadline_ns = time.monotonic_ns()
        while True:
            duration_ns = self._engine.begin_step()
            if duration_ns is None:
                self._work.clear()
                await self._work.wait()
                deadline_ns = time.monotonic_ns()
                continue
            now_ns = time.monotonic_ns()
            deadline_ns = max(deadline_ns, now_ns - MAX_CATCH_UP_NS) + duration_ns
            await asyncio.sleep(max(0, deadline_ns - now_ns) / 1e9)
            for token in self._engine.end_step():
                self._outputs[token.sequence].put_nowait(token)

    @contextlib.contextmanager
    def _generation(self, body: shapes.Body) -> Iterator[asyncio.Queue[Token]]:
        """Run one sequence for as long as the block lasts; leaving it early aborts the sequence."""
        sequence = self._engine.submit(body.prompt_tokens, body.token_limit)
        tokens = self._outputs[sequence] = asyncio.Queue[Token]()
        self.started += 1
        self._work.set()
        try:
            yield tokens
        finally:
            del self._outputs[sequence]
            self._engine.cancel(sequence)
            if sequence.finished:
                self.finished += 1
            else:
                self.aborted += 1

    def _endpoint(self, body_type: type[shapes.Body], answer_type: type[shapes.Answer]) -> Handler:
        """Return the handler of one API."""
        decoder = msgspec.json.Decoder(body_type)

        async def handle(request: web.Request) -> web.StreamResponse:
            try:
                body = decoder.decode(await request.read())
            except msgspec.DecodeError as error:
                return _json(shapes.error_body(str(error)), status=400)
            model = body.model or shapes.MODEL
            answer = answer_type(self.started, int(time.time()), model, body.prompt_tokens)
            with self._generation(body) as tokens:
                if body.stream:
                    return await _stream(request, answer, tokens, include_usage=body.include_usage)
                return await _whole(answer, tokens)

        return handle


async def _stream(
    request: web.Request,
    answer: shapes.Answer,
    tokens: asyncio.Queue[Token],
    *,
    include_usage: bool,
) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
    await response.prepare(request)  # sends the head
    finished = False
    while not finished:
        token = await tokens.get()
        for record in answer.records(token.index, token.finish_reason):
            await response.write(record)
        finished = token.finish_reason is not None
    if include_usage:
        await response.write(answer.usage_record(token.index + 1))
    await response.write(shapes.DONE)
    await response.write_eof()
    return response


async def _whole(answer: shapes.Answer, tokens: asyncio.Queue[Token]) -> web.Response:
    while True:
        token = await tokens.get()
        if token.finish_reason is not None:
            return _json(answer.whole(token.index + 1, token.finish_reason))


async def _models(_: web.Request) -> web.Response:
    return _json(shapes.models_body(int(time.time())))


async def _health(_: web.Request) -> web.Response:
    return web.Response()


async def _version(_: web.Request) -> web.Response:
    return web.json_response({"version": __version__})


def _json(body: bytes, status: int = 200) -> web.Response:
    return web.Response(body=body, status=status, content_type="application/json")
