"""The simulated inference server: the engine behind OpenAI's API over HTTP.

Owns the listening socket, the clock and the requests in progress; the engine decides who runs and
how long, `shapes` what is said. It must not know the proxy. The rules it keeps are a real server's:
headers leave before prefill begins, each record is one write, and a client that disconnects frees
its slot at once. Where it is to fail, it fails as they do.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import msgspec
from aiohttp import web
from yarl import URL

from goodput_proxy import __version__

from . import shapes
from .engine import Engine, Output, Profile, Sequence
from .faults import Fault, Faults

if TYPE_CHECKING:
    from collections.abc import Iterator

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

# Prompts of tens of thousands of words pass; anything beyond is a mistake.
MAX_BODY_BYTES = 16 * 1024 * 1024

# An accelerator does not wait for a busy machine: steps that a stall delayed follow at once, unless
# it was longer than this (a laptop that slept).
MAX_CATCH_UP_NS = 1_000_000_000

# A stream that is to break has shown some of its answer by then.
FAULT_AFTER_TOKENS = 5


class SimulatedServer:
    """An OpenAI-compatible server that generates nothing, at the pace of a GPU.

    The counters `started`, `finished` and `aborted` count generations; `started` equals the other
    two plus those that wait or run. `faults` counts the requests that were let down on purpose.

    Args:
        profile: how fast it is.
        seed: of all that is random in it.
        faults: how often it fails.
    """

    def __init__(
        self, profile: Profile | None = None, seed: int = 0, faults: Faults | None = None
    ) -> None:
        self._engine = Engine(profile or Profile(), seed)
        self._shares = faults or Faults()
        self._random = random.Random(seed)  # noqa: S311 -- reproducible on purpose
        self.faults: Counter[Fault] = Counter()
        self._outputs: dict[Sequence, asyncio.Queue[Output]] = {}
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
            for output in self._engine.end_step():
                self._outputs[output.sequence].put_nowait(output)

    @contextlib.contextmanager
    def _generation(self, body: shapes.Body) -> Iterator[asyncio.Queue[Output]]:
        """Run one sequence for as long as the block lasts; leaving it early aborts the sequence."""
        sequence = self._engine.submit(body.prompt_tokens, body.token_limit, urgent=body.urgent)
        outputs = self._outputs[sequence] = asyncio.Queue[Output]()
        self.started += 1
        self._work.set()
        try:
            yield outputs
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
            fault = self._shares.draw(self._random)
            if fault is not None:
                # An answer in one piece cannot break in the middle.
                fault = fault if body.stream or fault.refuses else Fault.INTERNAL
                self.faults[fault] += 1
                if fault.refuses:
                    return _refuse(fault)
            model = body.model or shapes.MODEL
            answer = answer_type(self.started, int(time.time()), model, body.prompt_tokens)
            with self._generation(body) as outputs:
                if body.stream:
                    return await _stream(request, answer, body, outputs, fault)
                return await _whole(answer, outputs)

        return handle


def _refuse(fault: Fault) -> web.Response:
    status = 429 if fault is Fault.REFUSED else 500
    return _json(shapes.error_body("refused on purpose", status), status)


async def _stream(
    request: web.Request,
    answer: shapes.Answer,
    body: shapes.Body,
    outputs: asyncio.Queue[Output],
    fault: Fault | None,
) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
    await response.prepare(request)  # sends the head
    finished = False
    while not finished:
        output = await outputs.get()
        finished = output.finish_reason is not None
        if fault is not None and (finished or output.end >= FAULT_AFTER_TOKENS):
            return await _break_off(request, response, fault)
        for record in answer.records(output.index, output.finish_reason, output.count):
            await response.write(record)
    if body.include_usage:
        await response.write(answer.usage_record(output.end))
    await response.write(shapes.DONE)
    await response.write_eof()
    return response


async def _break_off(
    request: web.Request, response: web.StreamResponse, fault: Fault
) -> web.StreamResponse:
    """End a stream as a server does that runs out of memory, or one that is killed."""
    if fault is Fault.STREAM_ERROR:
        await response.write(shapes.error_record("out of memory on purpose"))
        await response.write(shapes.DONE)
        await response.write_eof()
    elif request.transport is not None:
        request.transport.close()  # what was written is sent; the end of the body is not
    return response


async def _whole(answer: shapes.Answer, outputs: asyncio.Queue[Output]) -> web.Response:
    while True:
        output = await outputs.get()
        if output.finish_reason is not None:
            return _json(answer.whole(output.end, output.finish_reason))


async def _models(_: web.Request) -> web.Response:
    return _json(shapes.models_body(int(time.time())))


async def _health(_: web.Request) -> web.Response:
    return web.Response()


async def _version(_: web.Request) -> web.Response:
    return web.json_response({"version": __version__})


def _json(body: bytes, status: int = 200) -> web.Response:
    return web.Response(body=body, status=status, content_type="application/json")
