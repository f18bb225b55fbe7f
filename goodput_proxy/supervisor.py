"""Several workers in place of one data path: made, told, replaced, and counted for.

The supervisor takes no request. It has the metrics, and hears from each worker what that has
counted (`messages`); it tells them what settings are in force and when to leave. A worker that
ends unasked is replaced at once, and later and later when its successors end young. What it had
told is counted; the requests that it was at are gone, as are their clients' connections.

Each worker listens on its own socket of the same port (SO_REUSEPORT), among which the kernel
deals connections by their addresses.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from contextlib import suppress
from typing import TYPE_CHECKING

import structlog

from .address import Listen
from .books import Books
from .channel import Channel, until_any
from .headcount import Headcount
from .messages import Leave, Report, Rules, Started, decode, dump
from .nurse import Nurse
from .settings import ConfigError
from .sites import share_port, url_of
from .traffic import find_obstacle, make_pool

if TYPE_CHECKING:
    from .judged import Observer
    from .metrics import Metrics
    from .settings import Settings
    from .tls import AllCredentials

_log = structlog.get_logger()

# Who lives for so long has not died of how it was started.
_YOUNG_S = 10.0
_FIRST_DELAY_S = 0.1
_MAX_DELAY_S = 30.0
# A worker tells something four times a second. One that was silent at so many looks hangs, and its
# clients with it. Looks are counted and not seconds: this process may have been stopped, too.
_LOOK_S = 5.0
_SILENT_LOOKS = 6
# A process whose channel is closed is gone in milliseconds, or hangs.
_END_S = 1.0
# On top of what draining may take; and for those that are told to cut everything.
_LEAVE_S = 5.0


class Seat:
    """A worker process, from its birth to its end."""

    def __init__(self, number: int, books: Books) -> None:
        self.number = number
        self.pid = 0
        self.channel = Channel(self._receive)
        self.silent_looks = 0  # since it was last heard
        self._books = books
        # What is wrong, if anything, as soon as that is known.
        self.started: asyncio.Future[list[str]] = asyncio.get_running_loop().create_future()

    @property
    def alive(self) -> bool:
        """Whether it takes requests."""
        return self.started.done() and not self.started.result() and not self.channel.lost.is_set()

    async def settled(self) -> list[str]:
        """Wait until it takes requests, or has said or shown that it cannot."""
        lost = asyncio.create_task(self.channel.lost.wait())
        await until_any(self.started, lost)
        lost.cancel()
        if not self.started.done():
            self.started.set_result([f"workers: worker {self.number} died while it started"])
        return self.started.result()

    def kill(self) -> None:
        """End the process at once."""
        if self.pid:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def _receive(self, message: bytes) -> None:
        self.silent_looks = 0
        match decode(message):
            case Report() as report:
                self._books.enter(self.number, report)
            case Started(problems) if not self.started.done():
                self.started.set_result(problems)


class Supervisor:
    """What takes requests, if that is several workers.

    Args:
        settings: validated settings.
        metrics: where everything is counted.
        credentials: for TLS towards the upstream, which is probed from here.
    """

    def __init__(self, settings: Settings, metrics: Metrics, credentials: AllCredentials) -> None:
        if not (hasattr(socket, "SO_REUSEPORT") and hasattr(os, "memfd_create")):
            raise ConfigError(["workers: more than one need Linux"])
        count = settings.workers
        self._settings = settings
        self._metrics = metrics
        self._credentials = credentials
        self._books = Books(metrics)
        self._headcount = Headcount.create(count)
        self._nurse = Nurse(count, self._headcount.descriptor)
        self._pool = make_pool(settings, metrics.upstream_error, credentials.upstream)
        self._ports: list[socket.socket] = []  # bound, so that nobody else takes the port
        self._listen = settings.listen
        self._rules = b""
        self._seats: dict[int, Seat] = {}
        self._keepers: list[asyncio.Task[None]] = []
        self.draining = False
        metrics.workforce.follow(lambda: self.alive, self._headcount.total)

    @property
    def alive(self) -> int:
        """How many workers take requests."""
        return sum(seat.alive for seat in self._seats.values())

    async def open(self) -> str:
        """Start the workers, and return the URL when all of them listen.

        Raises:
            ConfigError: when one of them cannot.
        """
        self._ports = await share_port(self._settings.listen, "listen")
        addresses = [port.getsockname() for port in self._ports]
        self._listen = Listen(self._settings.listen.host, addresses[0][1])
        self._pool.own = [Listen(*address[:2]) for address in addresses]
        self._set_rules(self._settings)
        seats = [await self._make(number) for number in range(self._settings.workers)]
        for seat in seats:
            if problems := await seat.settled():
                raise ConfigError(problems)
        self._keepers = [asyncio.create_task(self._keep(seat)) for seat in seats]
        self._keepers.append(asyncio.create_task(self._watch()))
        return url_of(addresses[0], tls=self._credentials.listen is not None)

    def apply(self, settings: Settings, observers: tuple[Observer, ...]) -> None:
        """Have new requests judged by these settings, and tell these of each verdict."""
        self._books.observers = observers
        self._set_rules(settings)
        for seat in self._seats.values():
            seat.channel.send(self._rules)

    async def find_obstacle(self) -> str:
        """Return why no traffic should be sent here."""
        return await find_obstacle(self._pool) if self.alive else "no worker is alive"

    async def drain(self) -> None:
        """Let the workers finish what runs, and wait until they are gone."""
        drain = self._settings.drain
        self._dismiss(Leave(drain=True))
        _log.info("draining workers", alive=self.alive, in_flight=self._headcount.total())
        await self._wait(drain.delay.seconds + drain.timeout.seconds + _LEAVE_S)

    async def close(self) -> None:
        """End the workers that are left, whatever they are at."""
        self._dismiss(Leave(drain=False))
        await self._wait(_LEAVE_S)
        for keeper in self._keepers:
            keeper.cancel()
        for seat in self._seats.values():
            if not seat.channel.lost.is_set():
                seat.kill()
        for port in self._ports:
            port.close()
        await self._nurse.close()
        self._headcount.close()
        self._pool.close()

    def _set_rules(self, settings: Settings) -> None:
        limits = settings.limits
        share = max(1, limits.connections // settings.workers)
        own = settings.model_copy(
            update={
                "listen": self._listen,
                "limits": limits.model_copy(update={"connections": share}),
            }
        )
        self._rules = dump(Rules(own, self._metrics.icl_edges_ns))

    async def _make(self, number: int) -> Seat:
        """Fork a worker, and tell it what is in force."""
        seat = self._seats[number] = Seat(number, self._books)
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                seat.pid = await self._nurse.fork(number, theirs)
            except OSError:
                ours.close()
                seat.channel.lost.set()
                return seat
        await seat.channel.open(ours)
        seat.channel.send(self._rules)
        if self.draining:
            seat.channel.send(dump(Leave(drain=False)))
        return seat

    async def _keep(self, seat: Seat) -> None:
        """See to it that there always is a worker of this number."""
        loop, deaths = asyncio.get_running_loop(), 0
        while True:
            born_s = loop.time()
            problems = await seat.settled()
            await seat.channel.lost.wait()
            code = await self._nurse.code(seat.pid, _END_S)
            if code is None:
                seat.kill()  # it may hang, and would count on in the slot of its successor
            self._headcount.clear(seat.number)
            if self.draining:
                return
            self._metrics.workforce.restarted()
            deaths = deaths + 1 if loop.time() - born_s < _YOUNG_S else 0
            delay_s = min(_FIRST_DELAY_S * 2 ** (deaths - 1), _MAX_DELAY_S) if deaths else 0.0
            _log.error(
                "a worker has ended and is replaced",
                worker=seat.number,
                pid=seat.pid,
                code=code,
                problems=problems,
                delay_s=delay_s,
            )
            await asyncio.sleep(delay_s)
            seat = await self._make(seat.number)

    async def _watch(self) -> None:
        """End workers that hang."""
        while True:
            await asyncio.sleep(_LOOK_S)
            for seat in self._seats.values():
                seat.silent_looks += 1
                if seat.silent_looks > _SILENT_LOOKS and seat.alive:
                    _log.error("a worker hangs and is killed", worker=seat.number, pid=seat.pid)
                    seat.kill()

    def _dismiss(self, leave: Leave) -> None:
        self.draining = True
        for seat in self._seats.values():
            seat.channel.send(dump(leave))

    async def _wait(self, patience_s: float) -> None:
        """Wait until the workers are gone, and all that they have told has been read."""
        waits = [asyncio.create_task(seat.channel.lost.wait()) for seat in self._seats.values()]
        if waits:
            _, late = await asyncio.wait(waits, timeout=patience_s)
            for task in late:
                task.cancel()
