"""The life of a worker: it has the data path and nothing else, and does as it is told.

It outlives no supervisor: without one nobody would count, reload or stop it. It then drains, as if
it had been told to.
"""

from __future__ import annotations

import asyncio
import gc
import sys
from typing import TYPE_CHECKING

import structlog
import uvloop

from .certificates import TlsError
from .channel import Channel, until_any
from .log import configure_logging
from .messages import Leave, Rules, Started, encode, load
from .remote import RemoteLedger
from .settings import ConfigError
from .tls import keep_fresh, load_credentials
from .traffic import Traffic

if TYPE_CHECKING:
    import socket

    from .headcount import Headcount

_log = structlog.get_logger()

# As in a process alone; here it is the thread that looks at certificates.
_SWITCH_INTERVAL_S = 0.0005


class Worker:
    """One of several processes that take requests on the same port.

    Args:
        number: which one.
        headcount: requests in flight in all of them.
    """

    def __init__(self, number: int, headcount: Headcount) -> None:
        self._channel = Channel(self._receive, self._catch_up)
        self._ledger = RemoteLedger(
            self._channel, headcount, number, asyncio.get_running_loop().call_soon
        )
        self._rules: asyncio.Future[Rules] = asyncio.get_running_loop().create_future()
        self._leave = asyncio.Event()
        self._hurry = asyncio.Event()
        self._traffic: Traffic | None = None

    async def run(self, end: socket.socket) -> None:
        """Take requests until told to leave, or until the supervisor is gone."""
        await self._channel.open(end)
        lost = asyncio.create_task(self._channel.lost.wait())
        await until_any(self._rules, lost)
        if not self._rules.done():
            return
        rules = self._rules.result()
        self._ledger.icl_edges_ns = rules.icl_edges_ns
        problems = await self._start(rules)
        self._channel.send(encode(Started(problems)))
        if self._traffic is not None and not problems:
            await until_any(asyncio.create_task(self._leave.wait()), lost)
            await self._stop(self._traffic)
        self._ledger.report()
        self._channel.close()
        await lost

    async def _start(self, rules: Rules) -> list[str]:
        """Open the port; return what is wrong if that is impossible."""
        settings = rules.settings
        configure_logging(settings.log)
        try:
            credentials = load_credentials(settings, self._ledger)
            self._traffic = Traffic(settings, self._ledger, credentials, shared=True)
            await self._traffic.open()
        except TlsError as error:
            return [str(error)]
        except ConfigError as error:
            return list(error.problems)
        self._fresh = asyncio.create_task(keep_fresh(credentials))
        sys.setswitchinterval(_SWITCH_INTERVAL_S)
        gc.collect()
        gc.freeze()
        return []

    async def _stop(self, traffic: Traffic) -> None:
        """Drain until that is done, or until told to cut it short."""
        drain = asyncio.create_task(traffic.drain())
        await until_any(drain, asyncio.create_task(self._hurry.wait()))
        drain.cancel()
        self._fresh.cancel()
        await traffic.close()

    def _receive(self, message: bytes) -> None:
        match load(message):
            case Rules() as rules if not self._rules.done():
                self._rules.set_result(rules)
            case Rules() as rules:
                self._apply(rules)
            case Leave(drain):
                self._leave.set()
                if not drain:
                    self._hurry.set()

    def _apply(self, rules: Rules) -> None:
        """Judge new requests by other rules, all in one turn of the loop."""
        self._ledger.icl_edges_ns = rules.icl_edges_ns
        configure_logging(rules.settings.log)
        if self._traffic is not None:
            self._traffic.apply(rules.settings, ())

    def _catch_up(self) -> None:
        self._ledger.report()


def run_worker(end: socket.socket, number: int, headcount: Headcount) -> None:
    """Run a worker to its end."""

    async def live() -> None:
        await Worker(number, headcount).run(end)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(live())
