"""Messages between processes: whole, in order, and read even when their writer is gone."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from goodput_proxy.channel import Channel
from tests.fakes import FakeTransport
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator


@given(messages=st.lists(st.binary(max_size=20)), cuts=st.lists(st.integers(0, 100)))
def test_any_cuts_give_the_same_messages(messages: list[bytes], cuts: list[int]) -> None:
    """However the bytes are cut on their way, messages come whole and in order."""
    got: list[bytes] = []
    sender, receiver, transport = Channel(got.append), Channel(got.append), FakeTransport()
    sender.connection_made(transport)
    for message in messages:
        sender.send(message)
    for piece in _cut(transport.written, sorted(cuts)):
        receiver.data_received(piece)

    assert got == messages


def _cut(data: bytes, ends: list[int]) -> Iterator[bytes]:
    begin = 0
    for end in [*ends, len(data)]:
        yield data[begin:end]
        begin = max(begin, end)


async def test_what_was_written_outlives_its_writer() -> None:
    """The end of a channel comes after the last message, and half a message is none."""
    got: list[bytes] = []
    ours, theirs = socket.socketpair()
    theirs.sendall(b"\0\0\0\1a\0\0\0\2bc\0\0\0\3d")
    theirs.close()
    channel = Channel(got.append)
    await channel.open(ours)
    await channel.lost.wait()
    channel.send(b"too late")

    assert got == [b"a", b"bc"]


async def test_a_reader_that_does_not_read() -> None:
    """The writer is told, does not wait, and is told again when there is room."""
    resumed: list[bool] = []
    got: list[bytes] = []
    ours, theirs = socket.socketpair()
    writer = Channel(got.append, lambda: resumed.append(True))
    await writer.open(ours)
    written = 0
    while not writer.full:
        writer.send(bytes(1000))
        written += 1
    reader = Channel(got.append)
    await reader.open(theirs)
    await eventually(lambda: len(got) == written, "all of it is read")
    writer.close()
    await reader.lost.wait()

    assert resumed == [True]
    assert not writer.full
