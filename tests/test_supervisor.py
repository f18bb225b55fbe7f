"""The supervisor: what it does about workers that cannot, will not or must not go on.

That several workers are one proxy to the outside is tested in integration/test_workers.py.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from goodput_proxy import nurse, supervisor
from goodput_proxy.address import Listen
from goodput_proxy.app import App
from goodput_proxy.channel import Channel
from goodput_proxy.headcount import Headcount
from goodput_proxy.messages import Leave, Rules, Started, decode, dump
from goodput_proxy.nurse import Nurse
from goodput_proxy.settings import ConfigError, Settings
from goodput_proxy.sites import share_port
from goodput_proxy.supervisor import Supervisor
from goodput_proxy.worker import Worker
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


def make_settings(**values: Any) -> Settings:
    """Return settings of two workers on any free ports."""
    free = {
        "listen": "127.0.0.1:0",
        "admin_listen": "127.0.0.1:0",
        "upstream": "http://127.0.0.1:1",
    }
    return Settings(**{"workers": 2, **free, **values})


@asynccontextmanager
async def running(**values: Any) -> AsyncIterator[tuple[App, Supervisor]]:
    """Return a running application and its supervisor."""
    app = App(make_settings(**values))
    await app.start()
    assert isinstance(app.traffic, Supervisor)
    try:
        yield app, app.traffic
    finally:
        await app.stop()


def value(app: App, name: str) -> float | None:
    """Return the value of a metric without labels."""
    return app.metrics.registry.get_sample_value(name)


async def test_workers_come_and_go() -> None:
    """They are there when it has started, and gone when it has stopped."""
    async with running() as (app, workers):
        assert value(app, "goodput_workers") == 2
        pids = [seat.pid for seat in workers._seats.values()]
    assert value(app, "goodput_workers") == 0
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


async def test_a_worker_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is killed and replaced: nothing else would ever end it."""
    monkeypatch.setattr(supervisor, "_LOOK_S", 0.3)
    async with running() as (app, workers):
        seat = workers._seats[0]
        os.kill(seat.pid, signal.SIGSTOP)
        await eventually(lambda: value(app, "goodput_worker_restarts_total"), "it is replaced")
        await eventually(lambda: workers.alive == 2, "both are there")
        assert workers._seats[0].pid != seat.pid


async def test_a_nursery_that_dies() -> None:
    """Workers live on, and the next one to be made is made by another."""
    async with running() as (_, workers):
        nursery = workers._nurse._process
        assert nursery is not None
        nursery.kill()
        await eventually(lambda: workers._nurse._socket is None, "that is noticed")
        assert workers.alive == 2
        with capture_logs() as logged:
            os.kill(workers._seats[1].pid, signal.SIGKILL)
            await eventually(lambda: workers.alive == 1, "one is gone")
            await eventually(lambda: workers.alive == 2, "both are there")
    assert [line["code"] for line in logged if "code" in line] == [None]


async def test_no_nursery_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy whose workers cannot be made does not start, and says so."""
    monkeypatch.setattr(nurse, "_MODULE", "goodput_proxy.no_such_module")
    with pytest.raises(ConfigError, match="worker 0 died while it started"):
        await App(make_settings()).start()


async def test_a_port_that_somebody_has() -> None:
    """It stays theirs, and no worker is made for it."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=r"listen: cannot listen on .*already in use"):
            await App(make_settings(listen=f"127.0.0.1:{port}")).start()


async def test_without_the_means(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system cannot share a port, one clear line says so."""
    monkeypatch.delattr(os, "memfd_create")
    with pytest.raises(ConfigError, match="workers: more than one need Linux"):
        await App(make_settings()).start()


@pytest.mark.parametrize(
    ("host", "expected"),
    [("no such host.invalid", "not known"), ("a" * 64 + ".invalid", "not a host name")],
)
async def test_no_such_address(host: str, expected: str) -> None:
    """An address that is none is the setting's problem."""
    with pytest.raises(ConfigError, match=f"listen: cannot listen on .*{expected}"):
        await share_port(Listen(host, 0), "listen")


async def test_all_addresses_of_a_host_have_the_same_port() -> None:
    """Also when any free one was asked for."""
    ports = await share_port(Listen("localhost", 0), "listen")
    assert len({port.getsockname()[1] for port in ports}) == 1
    for port in ports:
        port.close()


async def test_a_fork_that_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits for a worker learns that the process that was to fork it has died."""
    monkeypatch.setattr(nurse, "_MODULE", "this")
    headcount, hand = Headcount.create(1), Nurse(1, 0)
    ours, theirs = socket.socketpair()
    with pytest.raises(OSError, match="died"):
        await hand.fork(0, theirs)
    assert await hand.code(1, 0.0) is None
    await hand.close()
    for end in (ours, theirs):
        end.close()
    headcount.close()


# -- a worker in the test's own process


@pytest.fixture
def process_as_it_was() -> Iterator[None]:
    """Undo what a worker does to the interpreter."""
    interval = sys.getswitchinterval()
    yield
    gc.unfreeze()
    sys.setswitchinterval(interval)


class Hand:
    """A supervisor's end of the channel to a worker in this process."""

    def __init__(self) -> None:
        self.said: list[Any] = []
        self.headcount = Headcount.create(1)
        self.channel = Channel(lambda message: self.said.append(decode(message)))

    async def begin(self) -> asyncio.Task[None]:
        """Let a worker begin."""
        ours, theirs = socket.socketpair()
        await self.channel.open(ours)
        return asyncio.create_task(Worker(0, self.headcount).run(theirs))

    @property
    def started(self) -> list[str] | None:
        """The worker's problems with starting, None when it has not said."""
        return next((told.problems for told in self.said if isinstance(told, Started)), None)


@pytest.fixture
async def hand(process_as_it_was: None) -> AsyncIterator[Hand]:
    """Return a supervisor's end."""
    del process_as_it_was
    hand = Hand()
    yield hand
    hand.channel.close()
    hand.headcount.close()


async def test_a_worker_does_as_it_is_told(hand: Hand) -> None:
    """It takes requests by the rules, takes others, and leaves with a last report."""
    worker = await hand.begin()
    rules = Rules(make_settings(), (1, 2))
    hand.channel.send(dump(rules))
    await eventually(lambda: hand.started == [], "it takes requests")
    hand.channel.send(dump(Rules(make_settings(slo={"ttft": "1s"}), (1, 2, 3))))
    hand.channel.send(dump(Leave(drain=True)))
    await worker
    await hand.channel.lost.wait()
    assert not isinstance(hand.said[-1], Started)


async def test_a_worker_is_told_to_hurry(hand: Hand) -> None:
    """A drain is cut short by a second word, and left out by a first."""
    for words in ([True, False], [False]):
        told = Hand()
        worker = await told.begin()
        drain = {"delay": "600s", "timeout": "600s"}
        told.channel.send(dump(Rules(make_settings(drain=drain), ())))
        await eventually(lambda told=told: told.started == [], "it takes requests")  # type: ignore[misc]
        for drain_first in words:
            told.channel.send(dump(Leave(drain=drain_first)))
        await worker
        told.headcount.close()
    del hand


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"listen": "192.0.2.1:1"}, "listen: cannot listen on 192.0.2.1:1"),
        ({"listen_tls": {"cert": "/no/such", "key": "/no/such"}}, "listen_tls.cert"),
    ],
)
async def test_a_worker_says_what_is_wrong(
    hand: Hand, values: dict[str, Any], problem: str
) -> None:
    """It ends by itself when it cannot take requests."""
    worker = await hand.begin()
    hand.channel.send(dump(Rules(make_settings(**values), ())))
    await worker
    await hand.channel.lost.wait()
    assert hand.started is not None
    assert hand.started[0].startswith(problem)


async def test_a_worker_that_nobody_tells_anything(hand: Hand) -> None:
    """It ends when the supervisor does, whether it had begun or not."""
    worker = await hand.begin()
    hand.channel.close()
    await worker
