"""Messages between two processes, each with its length in front, over a stream socket.

What has been written is read even when the writer is dead by then: that is why a killed worker's
counts are kept. A message that was not written whole is none.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

_LENGTH_BYTES = 4


class Channel(asyncio.Protocol):
    """One end.

    Args:
        receive: told each message of the other end.
        resume: told when a channel that was `full` is no longer.
    """

    def __init__(
        self, receive: Callable[[bytes], None], resume: Callable[[], None] | None = None
    ) -> None:
        self._receive = receive
        self._resume = resume
        self._transport: asyncio.Transport | None = None
        self._read = bytearray()
        self.full = False  # the other end does not read as fast as this one writes
        self.lost = asyncio.Event()

    async def open(self, end: socket.socket) -> None:
        """Take one end of a pair of connected sockets."""
        end.settimeout(0)
        await asyncio.get_running_loop().create_unix_connection(lambda: self, sock=end)

    def send(self, message: bytes) -> None:
        """Send a message; what the socket does not take waits in memory."""
        if self._transport is not None and not self.lost.is_set():
            self._transport.write(len(message).to_bytes(_LENGTH_BYTES) + message)

    def close(self) -> None:
        """Close it when all has been sent."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Pass on the messages that are whole."""
        read = self._read
        read += data
        begin = 0
        while len(read) - begin >= _LENGTH_BYTES:
            body = begin + _LENGTH_BYTES
            end = body + int.from_bytes(read[begin:body])
            if end > len(read):
                break
            self._receive(bytes(read[body:end]))
            begin = end
        del read[:begin]

    def pause_writing(self) -> None:
        """Take note that the other end is behind."""
        self.full = True

    def resume_writing(self) -> None:
        """Take note that the other end has caught up."""
        self.full = False
        if self._resume is not None:
            self._resume()

    def connection_lost(self, exc: Exception | None) -> None:
        """Take note that the other end is gone, after its last message."""
        del exc
        self.lost.set()


async def until_any(*futures: asyncio.Future[Any]) -> None:
    """Wait until one of them is done; the others go on."""
    await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)
