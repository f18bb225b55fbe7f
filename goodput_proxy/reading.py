"""What a client sends, cut into requests by aiohttp's parser, without what that loses or mixes up.

aiohttp 3.14 parses with llhttp. This file stamps heads when they are read, keeps what follows a
request for another protocol (`upgrades`), and breaks off a body that a read has spoiled. Where the
parser forgets bytes, or takes the trailers of one request for headers of the next, the connection
ends behind the request before; nothing is guessed.
"""

from __future__ import annotations

from collections import deque
from time import monotonic_ns
from typing import TYPE_CHECKING, Any

from aiohttp.http_parser import HttpRequestParser
from aiohttp.web import RequestPayloadError
from aiohttp.web_protocol import _ErrInfo

from .heads import find_header, join_header
from .patience import PatientConnection
from .upgrades import UpgradeFinder, offered

if TYPE_CHECKING:
    from aiohttp import StreamReader
    from aiohttp.http_parser import RawRequestMessage

_PARSER_OPTIONS = ("auto_decompress", "max_field_size", "max_line_size")


class ReadingConnection(PatientConnection):
    """A client's connection, as far as requests are read from it.

    Args:
        arguments: those of `PatientConnection`.
        keywords: likewise; those of aiohttp's parser must be among them.
    """

    __slots__ = (
        *("_body", "_chunked", "_chunks_end", "_finder", "_head_times_ns", "_last"),
        "_parser_options",
    )

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self._parser_options = {name: keywords[name] for name in _PARSER_OPTIONS}
        self._head_times_ns: deque[int] = deque()  # of requests that wait for their handler
        self._body: StreamReader | None = None  # of the newest request
        self._chunked: RawRequestMessage | None = None  # the newest request, until its body ends
        self._chunks_end = b""  # the last four bytes of that body
        self._finder = UpgradeFinder()
        self._last: RawRequestMessage | None = None  # what follows this request cannot be trusted

    @property
    def idle(self) -> bool:
        """Whether no request waits or is under way here."""
        return self._waiter is not None and not self._messages

    def take_head_time_ns(self, message: RawRequestMessage) -> int:
        """Return when the head of the request at hand had been read."""
        if len(self._head_times_ns) > len(self._messages):
            return self._head_times_ns.popleft()
        # aiohttp has kept it back behind a request to upgrade, and parsed it just now.
        if message.chunked or _is_deaf_behind(message):
            self._end_at(message)
        return monotonic_ns()

    def ends_at(self, message: RawRequestMessage) -> bool:
        """Return whether the connection must close behind a request."""
        return message is self._last

    def holds_behind(self, message: RawRequestMessage) -> bool:
        """Return whether a request asks for another protocol and what follows it is held back."""
        return self._upgraded and not self._messages and _asks_for_upgrade(message)

    def watch(self, body: StreamReader) -> None:
        """Mind a body whose beginning was held back, so that it has not been seen here."""
        if body is not self._body and not body.is_eof():
            self._body = body
            self.await_body(body)

    def take_early(self) -> bytes:
        """Return what the client has sent behind its request for another protocol."""
        self.forget_departure()
        early, self._message_tail = self._message_tail, b""
        return early

    def data_received(self, data: bytes) -> None:
        """Stamp the heads that this read completes; break off a body that it spoils."""
        now_ns = monotonic_ns()
        known = self._request_count
        self._parse(data)
        new = self._request_count - known
        for _ in range(new):
            self._head_times_ns.append(now_ns)
        if self._chunked is not None:
            self._watch_chunks(data, followed=bool(new))
        if new:
            self.end_head()
            message, body = self._messages[-1]
            if not isinstance(message, _ErrInfo):
                self._body = body
                self.await_body(body)
                self._find_chunks(data, new)
            elif self._body is not None and not self._body.is_eof():
                # aiohttp forgets the body in which the error stood: its reader would wait for ever.
                self._body.set_exception(RequestPayloadError("the body is malformed"))
                self.close()  # nothing that follows can be parsed
        elif data and (self.idle or not known):
            self.await_head()

    def _parse(self, data: bytes) -> None:
        """Let aiohttp parse a read, and hold back what follows a request for another protocol."""
        while not self._upgraded and (self._body is None or self._body.is_eof()):
            end = self._finder.find(data)
            if not end:
                break
            super().data_received(data[:end])
            data = data[end:]
            if not self._messages:
                break  # no head, but a body that aiohttp has not told us of
            message, body = self._messages[-1]
            if isinstance(message, _ErrInfo):
                return
            self._body = body
            if not body.at_eof():
                if _is_deaf_behind(message):
                    self._end_at(message)
            elif _asks_for_upgrade(message):
                self._upgraded = True  # aiohttp does so for WebSockets only
        known = self._request_count
        super().data_received(data)
        if self._request_count > known:
            message, _ = self._messages[-1]
            if not isinstance(message, _ErrInfo) and _is_deaf_behind(message):
                self._end_at(message)

    def _find_chunks(self, data: bytes, new: int) -> None:
        """Mind chunked requests among those that a read has brought."""
        for message, _ in list(self._messages)[-new:]:
            if self._chunked is not None:
                self._watch_chunks(data, followed=True)
            if not isinstance(message, _ErrInfo) and message.chunked:
                self._chunked, self._chunks_end = message, b""
        if self._chunked is not None:
            self._watch_chunks(data, followed=False)

    def _watch_chunks(self, data: bytes, *, followed: bool) -> None:
        """Let no trailer of a chunked request stand among the headers of the next one.

        aiohttp takes the last trailer for a header of what it parses next, and does not tell that
        there was one. A new parser knows of none; where the old one has begun to parse what
        follows, the connection must end.
        """
        chunked, body = self._chunked, self._body
        self._chunks_end = (self._chunks_end + data[-4:])[-4:]
        if chunked is None or not (followed or (body is not None and body.is_eof())):
            return
        self._chunked = None
        at_end = self._chunks_end == b"\r\n\r\n" and len(self._messages) <= 1
        if at_end and not (followed or self._upgraded):
            self._parser = HttpRequestParser(
                self,
                self._loop,
                self._read_bufsize,
                **self._parser_options,
                payload_exception=RequestPayloadError,
                max_msg_queue_size=self._max_msg_queue_size,
            )
        else:
            self._end_at(chunked)

    def _end_at(self, message: RawRequestMessage) -> None:
        if self._last is None:
            self._last = message


def _asks_for_upgrade(message: RawRequestMessage) -> bool:
    """Return whether a request asks for another protocol that may be passed on."""
    protocols = join_header(message.raw_headers, b"upgrade")
    return bool(message.upgrade and message.version.minor == 1 and offered(protocols))


def _is_deaf_behind(message: RawRequestMessage) -> bool:
    """Return whether aiohttp forgets what follows a request in the same read, where it ends."""
    known = find_header(message.raw_headers, b"upgrade").lower() == b"websocket"
    return bool(message.upgrade and not known)
