"""Tunnels: bytes both ways, both kinds of end, and what a full buffer stops."""

from __future__ import annotations

import asyncio
import socket
from time import monotonic_ns
from typing import TYPE_CHECKING, cast

import pytest

from goodput_proxy.record import End
from goodput_proxy.tunnel import Pump, Tunnel
from tests.fakes import FakeTransport
from tests.waiting import eventually

if TYPE_CHECKING:
    from goodput_proxy.heads import Headers


class Before(asyncio.Protocol):
    """Who had a connection before the tunnel."""

    def __init__(self) -> None:
        self.lost: list[Exception | None] = []

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.append(exc)


class RecordingWatcher:
    """A meter that keeps what it is shown."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, object]] = []
        self.end_ns = 0

    def begin(self, headers: Headers) -> None:
        self.calls.append(("begin", headers))

    def from_client(self, data: bytes, now_ns: int) -> None:
        assert now_ns
        self.calls.append(("client", data))

    def from_server(self, data: bytes, now_ns: int) -> None:
        assert now_ns
        self.calls.append(("server", data))

    def finish(self, end: End, end_ns: int) -> None:
        self.end_ns = end_ns
        self.calls.append(("finish", end))


class Ends:
    """A tunnel between two transports, both of which something had before."""

    def __init__(
        self, *, idle_s: float = 60, client_full: bool = False, reading: bool = False
    ) -> None:
        self.client, self.server = FakeTransport(), FakeTransport()
        for transport in (self.client, self.server):
            transport.protocol = Before()
            if not reading:
                transport.pause_reading()
        self.watcher = RecordingWatcher()
        self.ends: list[End] = []
        self.tunnel = Tunnel(
            self.client, self.server, self.ends.append, idle_s=idle_s, watcher=self.watcher
        )
        self.before = [self.client.protocol, self.server.protocol]
        self.tunnel.open(b"", b"", client_full=client_full)

    @property
    def transports(self) -> tuple[FakeTransport, FakeTransport]:
        """Both transports, the client's first."""
        return self.client, self.server

    @property
    def pumps(self) -> tuple[Pump, Pump]:
        """Their protocols."""
        return cast("Pump", self.client.protocol), cast("Pump", self.server.protocol)


@pytest.fixture
async def ends() -> Ends:
    """Return an open tunnel."""
    return Ends()


async def test_bytes_are_written_before_they_are_shown(ends: Ends) -> None:
    """Each read is one write to the other side; the meter sees it after."""
    client, server = ends.pumps
    client.data_received(b"a")
    server.data_received(b"b")

    assert (ends.server.take(), ends.client.take()) == ([b"a"], [b"b"])
    assert ends.watcher.calls == [("client", b"a"), ("server", b"b")]
    assert ends.tunnel.measured


async def test_a_tunnel_without_a_meter() -> None:
    """Nobody needs to look."""
    client, server, ends = FakeTransport(), FakeTransport(), list[End]()
    tunnel = Tunnel(client, server, ends.append, idle_s=60)
    tunnel.open(b"from client", b"from server", client_full=False)
    tunnel.close(End.CUT)

    assert not tunnel.measured
    assert (client.writes, server.writes) == ([b"from server"], [b"from client"])
    assert ends == [End.CUT]


@pytest.mark.parametrize("reading", [True, False])
@pytest.mark.parametrize("full", [True, False])
async def test_a_client_that_was_full_before(*, full: bool, reading: bool) -> None:
    """Its server is not read before it has made room; itself it is read at once."""
    ends = Ends(client_full=full, reading=reading)

    assert (ends.client.is_reading(), ends.server.is_reading()) == (True, not full)
    ends.pumps[0].resume_writing()
    assert ends.server.is_reading()


@pytest.mark.parametrize("full", [0, 1])
async def test_a_full_side_stops_the_other(ends: Ends, full: int) -> None:
    """Who cannot be written to is what the other side waits for."""
    ends.pumps[full].pause_writing()
    assert not ends.transports[1 - full].is_reading()
    assert ends.transports[full].is_reading()
    ends.pumps[full].resume_writing()

    assert ends.transports[1 - full].is_reading()


FIRST = [(0, End.CLIENT_LEFT), (1, End.CUT)]


@pytest.mark.parametrize(("first", "end"), FIRST)
async def test_half_closes(ends: Ends, first: int, end: End) -> None:
    """One passes and the other way goes on; two are the end, by the side that was first."""
    early, late = ends.pumps[first], ends.pumps[1 - first]
    assert early.eof_received()
    assert ends.transports[1 - first].half_closed
    assert ends.ends == []
    late.data_received(b"more")
    assert ends.transports[first].take() == [b"more"]
    assert late.eof_received()

    assert ends.client.closed
    assert ends.server.closed
    assert ends.ends == [end]
    assert ends.watcher.calls[-1] == ("finish", end)


async def test_an_end_has_the_time_of_the_first_half(ends: Ends) -> None:
    """A server that closes late does not make its client leave late."""
    client, server = ends.pumps
    before_ns = monotonic_ns()
    client.eof_received()
    after_ns = monotonic_ns()
    server.connection_lost(None)

    assert before_ns <= ends.watcher.end_ns <= after_ns


@pytest.mark.parametrize(("first", "end"), FIRST)
async def test_an_end_after_a_half_close(ends: Ends, first: int, end: End) -> None:
    """Who goes in answer to a half-close was not the first."""
    ends.pumps[first].eof_received()
    ends.pumps[1 - first].connection_lost(None)

    assert ends.ends == [end]


@pytest.mark.parametrize(("first", "end"), FIRST)
@pytest.mark.parametrize("exc", [None, ConnectionResetError()])
async def test_a_side_that_is_gone(ends: Ends, first: int, end: End, exc: Exception | None) -> None:
    """The other side goes in the same way, and those who had the connections are told."""
    gone, other = ends.pumps[first], ends.transports[1 - first]
    gone.connection_lost(exc)
    assert (other.closed, other.aborted) == (True, exc is not None)
    assert ((socket.SOL_SOCKET, socket.SO_LINGER) in other.socket.options) == (exc is not None)
    gone.peer.data_received(b"too late")
    gone.peer.connection_lost(None)

    assert ends.ends == [end]
    assert [cast("Before", before).lost for before in ends.before] == (
        [[exc], [None]] if first == 0 else [[None], [exc]]
    )


async def test_what_comes_for_a_side_that_closes_is_dropped(ends: Ends) -> None:
    """It is neither written nor an error."""
    ends.server.close()
    ends.pumps[0].data_received(b"x")
    ends.pumps[0].eof_received()

    assert ends.server.writes == []
    assert not ends.server.half_closed


async def test_tls_has_no_half_close(ends: Ends) -> None:
    """Towards it the first end is both; from it the transport closes by itself."""
    ends.server.can_half_close = False
    assert ends.pumps[1].eof_received() is False
    assert ends.client.half_closed
    ends.pumps[0].eof_received()
    assert ends.server.closed

    other = Ends()
    other.server.can_half_close = False
    other.pumps[0].eof_received()
    assert other.server.closed
    assert other.ends == [End.CLIENT_LEFT]


async def test_an_idle_tunnel_is_closed() -> None:
    """What cannot be written by then is given up, so that nobody holds a buffer for ever."""
    ends = Ends(idle_s=0.01)
    ends.client.unsent = 5
    await eventually(lambda: ends.server.closed)

    assert ends.ends == [End.TIMED_OUT]
    assert (ends.client.aborted, ends.server.aborted) == (True, False)


async def test_a_side_that_does_not_take_its_rest() -> None:
    """After the other side has gone it has as long as an idle tunnel."""
    ends = Ends(idle_s=0.01)
    ends.client.unsent = 5
    ends.pumps[1].connection_lost(None)
    assert (ends.client.closed, ends.client.aborted) == (True, False)
    await eventually(lambda: ends.client.aborted)

    assert ends.ends == [End.CUT]


async def test_bytes_keep_a_tunnel_open(ends: Ends) -> None:
    """The bound is on silence: when it is checked before its time, it is checked again later."""
    ends.pumps[0].data_received(b"x")
    ends.tunnel._check_idle()

    assert ends.ends == []
    assert not ends.client.closed
