"""Connections that are one too many, without sockets."""

from __future__ import annotations

import asyncio

from goodput_proxy import surplus
from goodput_proxy.surplus import Doorman, TurnedAway
from tests.fakes import FakeTransport


class Door:
    """A doorman, and what he counts."""

    def __init__(self) -> None:
        self.counted = 0
        self.doorman = Doorman(asyncio.get_running_loop(), self._count)

    def _count(self) -> None:
        self.counted += 1

    def come(self, transport: FakeTransport) -> TurnedAway:
        """Let a connection come."""
        connection = self.doorman()
        connection.connection_made(transport)
        return connection


async def test_one_answer_to_whatever_is_asked() -> None:
    """The first bytes are answered, the rest is thrown away, and the client may close first."""
    door, transport = Door(), FakeTransport()
    connection = door.come(transport)
    assert transport.written == b""
    connection.data_received(b"GET / HT")
    connection.data_received(b"TP/1.1\r\n\r\n")
    (answer,) = transport.writes

    assert answer.startswith(b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\n")
    assert transport.half_closed
    assert not transport.closed
    assert door.counted == 1
    connection.connection_lost(None)
    connection.data_received(b"")
    door.doorman.close()
    assert not transport.closed


async def test_tls_knows_no_half_close() -> None:
    """What cannot be half-closed is left open until the client closes, or its time is over."""
    door, transport = Door(), FakeTransport()
    transport.can_half_close = False
    door.come(transport).data_received(b"x")

    assert transport.written
    assert not transport.half_closed
    door.doorman.close()
    assert transport.closed


async def test_few_are_waited_for() -> None:
    """Where many are turned away each further one is answered and closed at once."""
    door = Door()
    transports = [FakeTransport() for _ in range(surplus._MAX_LINGERING + 1)]
    connections = [door.come(transport) for transport in transports]

    assert [transport.closed for transport in transports] == [False] * 16 + [True]
    assert transports[-1].written
    connections[0].connection_lost(None)
    transports.append(FakeTransport())
    door.come(transports[-1])
    assert [transport.closed for transport in transports[-2:]] == [True, False]
    door.doorman.close()
    assert transports.pop().closed
    assert door.counted == 18
