"""Clients that leave while nobody reads: who is told, and who is not."""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from goodput_proxy.departures import Departures
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(
    not hasattr(__import__("select"), "epoll"), reason="there is no epoll here"
)


@contextmanager
def connection() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Open a TCP connection; return its server's end and its client's."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        client = socket.create_connection(listening.getsockname())
        server, _ = listening.accept()
    with client, server:
        yield server, client


def close(client: socket.socket) -> None:
    client.close()


def half_close(client: socket.socket) -> None:
    client.shutdown(socket.SHUT_WR)


def reset(client: socket.socket) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


@pytest.mark.parametrize("leave", [close, half_close, reset])
async def test_each_departure_is_told_once(leave: object) -> None:
    """However a client leaves, and whatever it has sent before, it is told, once."""
    departures = Departures(asyncio.get_running_loop())
    told: list[str] = []
    with connection() as (server, client), connection() as (other, _):
        client.send(b"unread")
        departures.watch(server.fileno(), lambda: told.append("left"))
        departures.watch(server.fileno(), lambda: told.append("left"))  # paused once more
        departures.watch(other.fileno(), lambda: told.append("other"))
        assert callable(leave)
        leave(client)
        await eventually(lambda: told)
        await asyncio.sleep(0.01)
        departures.close()

    assert told == ["left"]


async def test_who_is_forgotten_is_not_told() -> None:
    """As soon as the connection is read from again, the event loop notices what happens there."""
    departures = Departures(asyncio.get_running_loop())
    told: list[str] = []

    def left() -> None:
        told.append("left")

    with connection() as (server, client), connection() as (other, other_client):
        departures.watch(server.fileno(), left)
        departures.watch(other.fileno(), lambda: told.append("other"))
        departures.forget(server.fileno(), left)
        departures.forget(server.fileno(), left)  # or twice
        client.close()
        other_client.close()
        await eventually(lambda: told)
        departures.close()

    assert told == ["other"]


async def test_a_number_that_is_used_again() -> None:
    """A connection that was closed does not take the watch of its successor along."""
    departures = Departures(asyncio.get_running_loop())
    told: list[str] = []

    def first_left() -> None:
        told.append("first")

    with connection() as (server, _):
        number = server.fileno()
        departures.watch(number, first_left)
    departures.forget(number, first_left)  # the loop tells late of what is closed
    with connection() as (server, client):
        departures.watch(server.fileno(), lambda: told.append("second"))
        departures.forget(server.fileno(), first_left)
        client.close()
        await eventually(lambda: told)
        departures.close()

    assert told == ["second"]
