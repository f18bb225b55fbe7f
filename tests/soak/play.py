"""The soak: all behaviours at once, for a while, against one proxy that is then as it was before.

The counts are kept beside, as the script knows them; what the proxy holds is read from outside, of
the process that users run: memory and descriptors from the kernel, the rest from `/metrics`.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING

from tests.integration.fake_upstream import FakeUpstream, connect
from tests.integration.harness import LAST_CHUNK, scrape
from tests.soak.behaviours import BEHAVIOURS, Behaviour, Ending, Sending, Taking
from tests.waiting import PATIENCE_S, eventually

if TYPE_CHECKING:
    from tests.integration.fake_upstream import Peer
    from tests.samples import Samples

    Counts = Counter[tuple[str, str]]

USERS = 24
# Everybody stops for a moment, and the server is not there, so often.
RESTART_EVERY_S = 3.0
UNREACHABLE = ("error", "connect")
FLAGS = (
    *("--slo.ttft=60s", "--slo.itl=60s", "--timeouts.idle=3s", "--timeouts.keepalive=5s"),
    "--timeouts.upstream-keepalive=1s",
)
CONFIG = "slo_classes: [{name: impossible, match: {headers: {x-tier: impossible}}, ttft: 1ns}]\n"


@dataclass
class _Exchange:
    """One request under way: what its server is to do, and what it has seen of it."""

    behaviour: Behaviour
    arrived: asyncio.Event = field(default_factory=asyncio.Event)


class Soak:
    """All clients and the server.

    Args:
        upstream: listens; the proxy's only server.
        port: of the proxy.
        seed: of all that is random.
    """

    def __init__(self, upstream: FakeUpstream, port: int, seed: int) -> None:
        self.counts: Counts = Counter()
        self._upstream = upstream
        self._port = port
        self._dice = random.Random(seed)
        self._exchanges: dict[bytes, _Exchange] = {}
        self._named = 0
        self._open = asyncio.Event()  # clear while nobody may begin
        self._open.set()
        self._busy = 0
        self._servers: set[Peer] = set()

    async def run(self, for_s: float) -> None:
        """Let everybody act for so long, and end what they have begun."""
        end_s = monotonic() + for_s
        accepting = asyncio.create_task(self._accept())
        restarting = asyncio.create_task(self._restart(end_s))
        try:
            async with asyncio.TaskGroup() as users:
                for _ in range(USERS):
                    users.create_task(self._use(end_s))
            await restarting
        finally:
            for task in (restarting, accepting):
                task.cancel()
            await asyncio.gather(restarting, accepting, return_exceptions=True)
            for server in list(self._servers):
                server.close()

    # -- clients

    async def _use(self, end_s: float) -> None:
        client: Peer | None = None
        while monotonic() < end_s:
            await self._open.wait()
            self._busy += 1
            try:
                if client is not None and client.ending is not None:
                    client.close()
                    client = None
                if client is None:
                    client = await connect(self._port)
                behaviour = self._dice.choice(BEHAVIOURS)
                if not await self._play(client, behaviour):
                    client.close()
                    client = None
            finally:
                self._busy -= 1
        if client is not None:
            client.close()

    async def _play(self, client: Peer, behaviour: Behaviour) -> bool:
        """Be a client; return whether its connection goes on."""
        requests = 2 if behaviour.sending is Sending.TWICE else 1
        self.counts[behaviour.counted] += requests
        exchanges = [self._name(behaviour) for _ in range(requests)]
        data = b"".join(behaviour.request(name) for name, _ in exchanges)
        if behaviour.sending is Sending.CUT:
            client.send(data[:-5])
            await exchanges[0][1].arrived.wait()
            return self._leave(client)
        if behaviour.sending is Sending.SLOWLY:
            for i in range(0, len(data), 60):
                client.send(data[i : i + 60])
                await asyncio.sleep(0.01)
        else:
            client.send(data)
        match behaviour.taking:
            case Taking.LEAVE_BEFORE:
                await exchanges[0][1].arrived.wait()
                return self._leave(client)
            case Taking.LEAVE_BETWEEN:
                await client.until(rb"content")
                return self._leave(client)
            case Taking.LATE:
                client.pause()
                await asyncio.sleep(3.5)  # longer than a server may be silent
                client.resume()
                # Not parsed again with each read: everybody else would wait for that.
                while not client.received.endswith(LAST_CHUNK):
                    await client.changed()
                answer = await client.answer()
                asked = sum(piece.count(b'"content"') for piece in behaviour.answer)
                assert answer.body.count(b'"content"') == asked
                return True
        return await self._take(client, requests)

    async def _take(self, client: Peer, requests: int) -> bool:
        for _ in range(requests):
            answer = await client.answer()
            if not answer.complete or answer.header(b"Connection") == b"close":
                await client.ended()
                return False
        assert not client.received
        return True

    def _leave(self, client: Peer) -> bool:
        client.reset() if self._dice.random() < 0.5 else client.close()
        return False

    def _name(self, behaviour: Behaviour) -> tuple[bytes, _Exchange]:
        self._named += 1
        name = b"%d" % self._named
        exchange = _Exchange(behaviour)
        if behaviour.reaches_server:
            self._exchanges[name] = exchange
        return name, exchange

    # -- the server

    async def _accept(self) -> None:
        async with asyncio.TaskGroup() as group:
            while True:
                server = await self._upstream.next()
                self._upstream.peers.clear()  # it remembers all that ever were
                group.create_task(self._serve(server))

    async def _serve(self, server: Peer) -> None:
        self._servers.add(server)
        try:
            while await self._answer(server):
                pass
        finally:
            self._servers.discard(server)
            server.close()

    async def _answer(self, server: Peer) -> bool:
        """Serve one request; return whether the connection goes on."""
        while b"\r\n\r\n" not in server.received:
            if server.ending is not None:
                return False
            await server.changed()
        name = bytes(server.received).partition(b"X-Id: ")[2].partition(b"\r\n")[0]
        exchange = self._exchanges.pop(name)  # a request that came twice would not be there
        behaviour = exchange.behaviour
        exchange.arrived.set()
        if behaviour.sending is Sending.CUT:
            await server.ended()
            return False
        await server.request()
        await server.pour(filter(None, behaviour.answer))
        if behaviour.ending is Ending.SILENCE:
            await server.ended()
            return False
        if behaviour.ending is Ending.NOTHING:
            return server.ending is None
        await server.flush()
        if behaviour.ending is Ending.RESET:
            await asyncio.sleep(0.05)  # a reset overtakes what the proxy has not read yet
            if server.ending is None:
                server.reset()
        return False

    async def _restart(self, end_s: float) -> None:
        """Take the server away while nobody is under way, ask all the same, and bring it back."""
        while monotonic() + RESTART_EVERY_S < end_s:
            await asyncio.sleep(RESTART_EVERY_S)
            self._open.clear()
            await eventually(lambda: not self._busy, "nobody under way")
            port = self._upstream.port
            await self._upstream.stop()
            for server in list(self._servers):
                server.close()
            await asyncio.sleep(0.1)  # the proxy hears of it
            for _ in range(5):
                client = await connect(self._port)
                client.send(Behaviour(UNREACHABLE).request(b"0"))
                assert (await client.answer()).status == 502
                client.close()
                self.counts[UNREACHABLE] += 1
            await self._upstream.start(port=port)
            self._open.set()


def read_counts(samples: Samples) -> Counts:
    """Return what the proxy has counted of requests."""
    counts: Counts = Counter(samples.verdicts())
    for labels, value in samples.of("goodput_passthrough_requests_total").items():
        if value:
            counts["passthrough", dict(labels)["kind"]] += int(value)
    return counts


async def settle(admin_port: int) -> Samples:
    """Return the metrics when no request is under way any more."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            samples = await scrape(admin_port)
            if not samples.total("goodput_requests_in_flight"):
                return samples
            await asyncio.sleep(0.05)
