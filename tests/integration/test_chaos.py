"""Whatever goes wrong on either side, each inference request that began has exactly one verdict.

Thousands of exchanges are drawn from a seed: what is asked, how far the server comes with its
answer and how it then ends, when and how the client leaves. What each of them is counted as stands
in other tests; here it is the sums that must hold, of everything at once.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from goodput_proxy.meters import Meters
from goodput_proxy.record import Outcome
from goodput_proxy.settings import Settings
from tests.integration.fake_upstream import parse_answer
from tests.integration.harness import (
    DONE,
    FINISH,
    LAST_CHUNK,
    SSE_HEAD,
    chunk,
    get_request,
    post,
    sized,
    token,
)
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from goodput_proxy.meters import Choice
    from tests.integration.conftest import StartProxy
    from tests.integration.fake_upstream import FakeUpstream, Peer
    from tests.integration.harness import RunningProxy
    from tests.samples import Samples

    Meanwhile = Callable[[RunningProxy, int], Awaitable[None]]

REQUESTS = 2600
CLIENTS = 24
SETTINGS: dict[str, Any] = {
    # What is met on any machine, and what on none.
    "slo": {"ttft": "60s", "itl": "60s", "stall": "60s"},
    "slo_classes": [
        {"name": "gold", "match": {"headers": {"x-tenant": "gold"}}, "ttft": "1ns"},
        {"name": "m1", "match": {"model": "m-1*"}, "preset": "guidellm/rag", "itl": "1ns"},
    ],
    "slo_headers": {"limits": True, "classes": True},
    "timeouts": {"idle": "300ms"},
    "limits": {"models": 4},
}
# What a reload may change: the policy at the start, one that shares a class with it, and neither.
POLICY = ("slo", "slo_classes", "slo_headers")
POLICIES = [
    [getattr(Settings.model_validate(values), name) for name in POLICY]
    for values in (
        SETTINGS,
        {"slo": {"preset": "guidellm/rag"}, "slo_classes": [{"name": "gold", "ttft": "60s"}]},
        {"slo": {"ttft": "none", "itl": "none"}, "slo_classes": [{"name": "new", "itl": "1ns"}]},
    )
]
ROLE = b'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}\n\n'
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":3}}\n\n'
ERROR = b'data: {"error":{"message":"no","code":500}}\n\n'
UNARY = b'{"choices":[{"index":0,"message":{"content":"hi"},"finish_reason":"stop"}]}'
JSON = b"Content-Type: application/json"
CODED = SSE_HEAD.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n")
UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
TRAIL = chunk(FINISH), chunk(USAGE), chunk(DONE) + LAST_CHUNK
ANSWERS: tuple[tuple[bytes, ...], ...] = (
    (SSE_HEAD, chunk(ROLE), *[chunk(token())] * 3, *TRAIL),
    (SSE_HEAD + chunk(ROLE + token()) + chunk(token()), *TRAIL),
    (SSE_HEAD, chunk(token()), *TRAIL),
    (SSE_HEAD, *TRAIL),
    (SSE_HEAD, chunk(token()), chunk(ERROR + DONE) + LAST_CHUNK),
    (SSE_HEAD, chunk(token()), chunk(b"data: {what\n\n"), chunk(DONE) + LAST_CHUNK),
    (SSE_HEAD, chunk(token() * 400), chunk(b"data: " + b"x" * 40_000 + b"\n\n"), *TRAIL),
    (CODED, chunk(token()), *TRAIL),
    (UNTIL_CLOSE, token(), token(), FINISH + DONE),
    (b"HTTP/1.1 103 Hints\r\n\r\n", SSE_HEAD, chunk(token()), *TRAIL),
    (sized(UNARY, b"200 OK", JSON)[:-20], UNARY[-20:]),
    (sized(b"", b"200 OK", JSON),),
    *((sized(b"no", status),) for status in (b"503 Busy", b"429 Slow", b"408 Late", b"404 No")),
    (b"SSH-2.0-dropbear\r\n",),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",),
)
# Why an answer is an error; the server always listens, so that it can be reached.
FAILURES = {
    *(Outcome.HTTP_5XX, Outcome.HTTP_429, Outcome.HTTP_408, Outcome.STREAM_ERROR),
    *(Outcome.TRUNCATED, Outcome.EMPTY, Outcome.TIMEOUT),
}


@dataclass(frozen=True)
class Exchange:
    """One request, and how both sides behave."""

    request: bytes
    answer: tuple[bytes, ...] = ()
    ending: str = ""  # of the server behind the answer: close, reset, silence
    leaves_after: int | None = None  # bytes of the answer; None: the client stays
    way: str = "close"  # in which the client leaves


@dataclass
class Begun:
    """What has begun, counted where it begins."""

    inference: int = 0
    others: int = 0


@dataclass
class World:
    """The server's side: what it is to answer, and which requests it has seen."""

    exchanges: dict[bytes, Exchange] = field(default_factory=dict)
    seen: list[bytes] = field(default_factory=list)

    async def accept(self, upstream: FakeUpstream) -> None:
        """Serve every connection."""
        async with asyncio.TaskGroup() as group:
            while True:
                group.create_task(self._serve(await upstream.accept()))

    async def _serve(self, server: Peer) -> None:
        while True:
            try:
                head, _ = await server.request()
            except AssertionError:  # the connection has ended instead
                server.close()
                return
            name = head.partition(b"X-Id: ")[2].partition(b"\r\n")[0]
            self.seen.append(name)
            exchange = self.exchanges[name]
            for piece in exchange.answer:
                if server.ending is not None:
                    break
                server.send(piece)
                await asyncio.sleep(0)
            if server.ending is None and exchange.ending in {"close", "reset"}:
                await server.flush()
                (server.reset if exchange.ending == "reset" else server.close)()
                return


def draw(seed: int, number: int) -> Exchange:
    """Return an exchange; half of them are in order."""
    dice = random.Random(f"{seed} {number}")
    name = b"X-Id: %d" % number
    luck = dice.random()
    if luck < 0.05:
        request = get_request(dice.choice((b"/health", b"/v1/models", b"/what")), name)
        return Exchange(request, (sized(b"{}", b"200 OK", JSON),))
    if luck < 0.08:
        return Exchange(post(b'{"max_tokens":0}', name), (sized(b"{}", b"200 OK", JSON),))
    model, stream = dice.randrange(12), dice.choice((b"true", b"false"))
    body = b'{"model":"m-%d","stream":%b}' % (model, stream)
    headers = [name]
    if dice.random() < 0.2:
        headers.append(b"X-Tenant: gold")
    if dice.random() < 0.2:
        headers.append(dice.choice((b"X-SLO-TTFT-ms: ", b"X-SLO-TPOT-ms: ")) + b"%d" % model)
    if dice.random() < 0.1:
        headers.append(b"X-SLO-Class: " + dice.choice((b"gold", b"m1", b"default", b"none")))
    answer = dice.choice(ANSWERS if dice.random() < 0.6 else ANSWERS[:3])
    if luck < 0.5:
        return Exchange(post(body, *headers), answer, ending="close" * answer[0].startswith(b"SSH"))
    if luck < 0.55:
        return _draw_upload(dice, body, headers)
    if luck < 0.75:  # the server breaks
        cut = answer[: dice.randrange(len(answer) + 1)]
        ending = dice.choice(("close", "reset", "close", "reset", "silence"))
        return Exchange(post(body, *headers), cut, ending)
    size = sum(map(len, answer))
    way = dice.choice(("close", "reset", "half-close"))
    return Exchange(post(body, *headers), answer, "silence", dice.randrange(-size // 10, size), way)


def _draw_upload(dice: random.Random, body: bytes, headers: list[bytes]) -> Exchange:
    """Return a request whose client breaks its upload off, or spoils it."""
    lines = (b"POST /v1/chat/completions HTTP/1.1", b"Host: x", b"Transfer-Encoding: chunked")
    head = b"\r\n".join((*lines, *headers)) + b"\r\n\r\n"
    if dice.random() < 0.5:
        return Exchange(head + chunk(body) + b"zz\r\n")
    return Exchange(head + chunk(body), leaves_after=0, way=dice.choice(("close", "reset")))


class Client:
    """One client, which has a new connection whenever the old one is of no more use."""

    def __init__(self, proxy: RunningProxy) -> None:
        self._proxy = proxy
        self._peer: Peer | None = None

    async def play(self, exchanges: list[Exchange]) -> None:
        """Send requests at once, and take the answers, or leave."""
        if self._peer is None or self._peer.ending:
            self._peer = await self._proxy.connect()
        peer = self._peer
        peer.send(b"".join(exchange.request for exchange in exchanges))
        for exchange in exchanges:
            if exchange.leaves_after is not None:
                await self._leave(peer, exchange.leaves_after, exchange.way)
                return
            await eventually(lambda: peer.ending or parse_answer(bytes(peer.received), ended=None))
            answer = parse_answer(bytes(peer.received), ended=peer.ending)
            if answer is None or peer.ending or answer.header(b"Connection") == b"close":
                self._peer = None
                peer.close()
                return
            del peer.received[: answer.size]

    async def _leave(self, peer: Peer, after: int, way: str) -> None:
        """Leave when so many bytes have come; in the same instant if it is less than none."""
        if after >= 0:
            await peer.flush()
            await asyncio.sleep(0)
        wanted = peer.size + after
        await eventually(
            lambda: peer.ending or peer.size >= wanted or not self._proxy.inner.in_flight
        )
        self._peer = None
        if peer.ending is None and way == "reset":
            peer.reset()
        elif peer.ending is None and way == "half-close":
            peer.finish()
            await peer.ended()
        peer.close()


def watch(proxy: RunningProxy, monkeypatch: pytest.MonkeyPatch) -> Begun:
    """Return what counts the requests that begin from now on."""
    begun, choose = Begun(), proxy.inner._meters.choose

    def count(*arguments: Any) -> Choice:
        choice = choose(*arguments)
        if choice.tap is None:
            begun.others += 1
        else:
            begun.inference += 1
        return choice

    monkeypatch.setattr(Meters, "choose", lambda _self, *arguments: count(*arguments))
    return begun


async def leave_alone(proxy: RunningProxy, number: int) -> None:
    """Let the proxy be, whatever number of requests has been sent."""


async def reload(proxy: RunningProxy, number: int) -> None:
    """Bring one of three policies into force, every so many requests."""
    if number % 20 == 0:
        policy = dict(zip(POLICY, POLICIES[number // 20 % 3], strict=True))
        proxy.app.apply(proxy.app._settings.model_copy(update=policy))


async def run(proxy: RunningProxy, world: World, seed: int, meanwhile: Meanwhile) -> None:
    """Send all requests; `meanwhile` is called with the number of each one before it is sent."""
    world.exchanges = {b"%d" % number: draw(seed, number) for number in range(REQUESTS)}
    numbers = iter(range(REQUESTS))

    async def one() -> None:
        client = Client(proxy)
        for number in numbers:
            await meanwhile(proxy, number)
            together = [number, *itertools.islice(numbers, number % 10 == 0)]  # pipelined
            await client.play([world.exchanges[b"%d" % each] for each in together])

    await asyncio.gather(*(one() for _ in range(CLIENTS)))


def check(samples: Samples, begun: Begun) -> None:
    """Compare the sums of what was counted with what has begun."""
    verdicts: dict[str, int] = {}
    for (verdict, _), count in samples.verdicts().items():
        verdicts[verdict] = verdicts.get(verdict, 0) + count
    aside = "goodput_passthrough_requests_total"
    # Bodies that ask for no output; streams that are not compressed as they say, and end well.
    control, unmeasured = (samples.total(aside, kind=kind) for kind in ("control", "unmeasured"))
    refused = samples.total(aside, kind="refused")  # these never begin

    assert sum(verdicts.values()) == begun.inference - control - unmeasured
    assert samples.total(aside) - control - unmeasured - refused == begun.others
    assert refused > 0
    assert unmeasured <= samples.total("goodput_tap_errors_total", reason="content_encoding")
    assert samples.total("goodput_requests_in_flight") == 0
    good = verdicts["good"] + verdicts["good_partial"]
    assert samples.total("goodput_slo_compliant_requests_total") == good
    judged = good + verdicts["slow"] + verdicts["error"]
    assert samples.total("goodput_load_requests_total") == judged
    assert samples.total("goodput_slo_violations_total") >= verdicts["slow"]
    assert samples.total("goodput_client_cancels_total") >= verdicts["cancelled"]
    assert samples.total("goodput_tap_errors_total", reason="internal") == 0
    # It was a mixture of everything.
    assert len(verdicts) == 6
    assert min(*verdicts.values(), control, unmeasured) > 10
    failures = {cause for verdict, cause in samples.verdicts() if verdict == "error"}
    assert failures == {str(cause) for cause in FAILURES}


@pytest.mark.parametrize("meanwhile", [leave_alone, reload])
async def test_each_request_has_one_verdict(
    start_proxy: StartProxy,
    upstream: FakeUpstream,
    monkeypatch: pytest.MonkeyPatch,
    meanwhile: Meanwhile,
) -> None:
    """The sum over all verdicts is the number of inference requests that have begun."""
    proxy = await start_proxy(**SETTINGS)
    begun, world = watch(proxy, monkeypatch), World()
    accepting = asyncio.create_task(world.accept(upstream))
    await run(proxy, world, seed=5, meanwhile=meanwhile)
    samples = await proxy.samples()
    accepting.cancel()

    assert len(world.seen) == len(set(world.seen))  # nothing was sent twice
    assert begun.inference > 2000
    check(samples, begun)
