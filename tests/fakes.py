"""Stand-ins for what surrounds the data path: a transport, and a sink for responses."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from goodput_proxy.heads import Headers
    from goodput_proxy.record import End


class FakeSocket:
    """A socket that remembers its options."""

    family = socket.AF_INET

    def __init__(self) -> None:
        self.options: dict[tuple[int, int], Any] = {}

    def fileno(self) -> int:
        return -1

    def setsockopt(self, level: int, name: int, value: Any) -> None:
        self.options[level, name] = value


class FakeTransport(asyncio.Transport):
    """A transport that keeps what is written, one entry per write."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self._reading = True
        self.aborted = False
        self.closed = False
        self.half_closed = False
        self.can_half_close = True
        self.unsent = 0  # bytes that the other end has not taken
        self.socket = FakeSocket()
        self.protocol: asyncio.BaseProtocol = asyncio.Protocol()

    @property
    def written(self) -> bytes:
        """Everything that was written."""
        return b"".join(self.writes)

    def take(self) -> list[bytes]:
        """Return the writes since the last call."""
        writes, self.writes = self.writes, []
        return writes

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.writes.append(bytes(data))

    def pause_reading(self) -> None:
        self._reading = False

    def resume_reading(self) -> None:
        self._reading = True

    def is_reading(self) -> bool:
        return self._reading

    def abort(self) -> None:
        self.aborted = self.closed = True

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def can_write_eof(self) -> bool:
        return self.can_half_close

    def write_eof(self) -> None:
        self.half_closed = True

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self.protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self.socket if name == "socket" else default


class RecordingSink:
    """A sink that keeps what it is told, in order."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    @property
    def body(self) -> bytes:
        """The body bytes so far."""
        return b"".join(call[1] for call in self.calls if call[0] in {"body", "chunk"})

    def on_informational(self, status: int, reason: bytes, headers: Headers) -> None:
        self.calls.append(("informational", status, reason, list(headers)))

    def on_head(self, status: int, reason: bytes, headers: Headers, *, chunked: bool) -> None:
        self.calls.append(("head", status, reason, list(headers), chunked))

    def on_body(self, pieces: list[bytes], now_ns: int) -> None:
        del now_ns
        self.calls.append(("body", b"".join(pieces), len(pieces)))

    def flush(self) -> None:
        """Hold nothing back: what comes is kept as it comes."""

    def on_chunk(self, chunk: bytes, data: bytes, now_ns: int) -> None:
        del now_ns
        self.calls.append(("chunk", data, chunk))

    def on_switch(
        self, reason: bytes, headers: Headers, transport: asyncio.Transport, early: bytes
    ) -> None:
        self.calls.append(("switch", reason, list(headers), transport, early))

    def on_end(self, trailers: Headers) -> None:
        self.calls.append(("end", list(trailers)))

    def on_failure(self, end: End) -> None:
        self.calls.append(("failure", end))
