"""The meter of a realtime connection: one WebSocket, many utterances, each judged on its own.

  t0      the client's message that asks for an answer has passed: `response.create` or
          `input_audio_buffer.commit`, the last one before the first token. Where the server finds
          the end of speech by itself, its own announcement: `input_audio_buffer.speech_stopped`
          or `.committed`, or `response.created`.
  token   a message of the server that shows output (see `stream/typed.py`).
  end     `response.done`, `transcription.done`, the completion of an input's transcription, or an
          error. A response that the client has cancelled counts as a client that left.

A connection that ends within an utterance leaves it truncated when the server went, and cancelled
when the client did. The first close frame tells who went: TCP would not, since a server closes its
end first also when the client has asked it to (RFC 6455, 7.1.1). Transcriptions of the input beside
spoken answers are not the answer.

Only text messages are read; of what a client sends, only their beginnings. Nothing is looked at
before the event loop has written it, and then in small steps: frames can be tiny, and compressed
ones large, and the other streams have to go on. Who sends more than can be looked at is not
measured.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs

from .classify import UNKNOWN_MODEL, Passthrough, as_model
from .faults import MeterFault
from .guard import Meter
from .judged import JudgedRequest
from .overrides import NO_OVERRIDES
from .record import End
from .slo import judge
from .stream.endpoints import Api
from .stream.events import FinishEvent, TokenEvent
from .stream.inflate import Undecodable
from .stream.session import Message, read_message
from .stream.typed import TypedDialect
from .stream.websocket import MessageReader, read_extensions
from .timeline import Timeline

if TYPE_CHECKING:
    from collections.abc import Callable

    from .heads import Headers
    from .judged import Observer
    from .ledger import Ledger
    from .policy import Policy
    from .settings import LimitSettings
    from .stream.framing import Record
    from .tapqueue import TapQueue

_ASKS: Final = frozenset(("input_audio_buffer.commit", "response.create"))
_ANNOUNCES: Final = frozenset(
    (
        *("input_audio_buffer.speech_stopped", "input_audio_buffer.committed"),
        "response.created",
    )
)
_INPUT: Final = "conversation.item.input_audio_transcription."
_LAST: Final = frozenset(
    (
        *("response.done", "transcription.done", "error"),
        *(_INPUT + "completed", _INPUT + "failed"),
    )
)
_NAMES = _ASKS | _ANNOUNCES | _LAST
# A client's message is known by its name, which stands at its beginning.
_CLIENT_RECORD_BYTES: Final = 1024
# A step takes 1.5 ms if it is all empty frames, and 4 ms if it is all compressed zeros.
_STEP_BYTES: Final = 1024
# More than this waits only if it comes faster than it can be looked at.
_MAX_HELD_BYTES: Final = 256 * 1024


class RealtimeMeter(Meter):
    """The meter of one realtime connection.

    Args:
        target: of the request, with its query.
        headers: of the request.
        policy: the classes that were in force when the request came.
        metrics: where verdicts and the meter's own errors are counted.
        limits: bounds on what is looked into.
        queue: where the work waits until the bytes are written.
        observers: who is told of an utterance when it has been counted.
    """

    def __init__(
        self,
        target: str,
        headers: Headers,
        policy: Policy,
        metrics: Ledger,
        limits: LimitSettings,
        *,
        queue: TapQueue,
        observers: tuple[Observer, ...] = (),
    ) -> None:
        super().__init__(metrics)
        self._queue = queue
        self._path, _, query = target.partition("?")
        self._headers = headers
        self._policy = policy
        self._overrides = NO_OVERRIDES
        self._limits = limits
        self._model = as_model(parse_qs(query).get("model", [""])[0]) or UNKNOWN_MODEL
        self._client = self._server = MessageReader(0)  # until the handshake is known
        self._dialect = TypedDialect()
        self._utterance: Timeline | None = None
        self._begun = False  # the utterance has had a token
        self._answers = False  # the server answers; it does not only transcribe
        self._in_flight = 0  # when the utterance began
        self._counted = False  # something of the connection is
        self._observers = observers
        self._over = False  # nothing is looked at any more
        self._held: deque[tuple[Callable[..., None], bytes | End, int]] = deque()
        self._held_bytes = 0

    def begin(self, headers: Headers) -> None:
        """Take note of the 101 that opened the connection."""
        self._guard(self._agree, headers)

    def from_client(self, data: bytes, now_ns: int) -> None:
        """Take bytes of the client that have been forwarded."""
        self._guard(self._hold, self._read_client, data, now_ns)
        self._queue.add(self)

    def from_server(self, data: bytes, now_ns: int) -> None:
        """Take bytes of the server that have been forwarded."""
        self._guard(self._hold, self._read_server, data, now_ns)
        self._queue.put(self, now_ns)

    def digest(self) -> bool:
        """Look at the oldest of what is held; return whether that was all."""
        self._guard(self._look)
        return not self._held

    def finish(self, end: End, end_ns: int) -> None:
        """Judge the utterance that the end of the connection has cut off, if there is one."""
        self._guard(self._finish, end, end_ns)

    def _look(self) -> None:
        if self._held:
            step, subject, now_ns = self._held.popleft()
            step(subject, now_ns)

    def _finish(self, end: End, end_ns: int) -> None:
        self._held.append((self._cut, end, end_ns))
        self._look()
        if self._held:
            self._queue.add(self)

    def _hold(self, step: Callable[[bytes, int], None], data: bytes, now_ns: int) -> None:
        if self._over:
            return
        if self._held_bytes > _MAX_HELD_BYTES:
            self._metrics.tap_error(MeterFault.OVERLOAD)
            self._give_up()
            return
        self._held_bytes += len(data)
        for i in range(0, len(data), _STEP_BYTES):
            self._held.append((step, data[i : i + _STEP_BYTES], now_ns))

    def _read_client(self, data: bytes, now_ns: int) -> None:
        self._read(self._client, self._hear, data, now_ns)
        if self._client.closed:
            self._over = True
            self._cut(End.CLIENT_LEFT, now_ns)

    def _read_server(self, data: bytes, now_ns: int) -> None:
        self._read(self._server, self._answer, data, now_ns)
        if self._server.closed:
            self._over = True
            self._cut(End.CUT, now_ns)

    def _give_up(self) -> None:
        """Look at nothing any more; a request that nothing was counted of is not measured."""
        self._over = True
        self._held.clear()
        if self._utterance is not None:
            self._utterance = None
            self._metrics.end()
        elif self._counted:
            return
        self._counted = True
        self._metrics.passthrough(Passthrough.UNMEASURED)

    def _agree(self, headers: Headers) -> None:
        self._overrides = self._policy.read_overrides(self._headers)
        self._metrics.slo_header_errors(self._overrides.faults)
        lines = [v for name, v in headers if name.lower() == b"sec-websocket-extensions"]
        extensions = b",".join(lines).decode("latin-1")
        client = read_extensions(extensions, server=False)
        server = read_extensions(extensions, server=True)
        self._client = MessageReader(_CLIENT_RECORD_BYTES, tails=False, **client)
        self._server = MessageReader(self._limits.record_bytes, **server)

    def _read(
        self,
        reader: MessageReader,
        take: Callable[[Record, Message, int], None],
        data: bytes,
        now_ns: int,
    ) -> None:
        self._held_bytes -= len(data)
        if self._over:
            return
        try:
            records = reader.feed(data)
        except Undecodable:
            self._metrics.tap_error(MeterFault.FRAMING)
            self._give_up()
            return
        for record in records:
            message = read_message(record, _NAMES)
            if self._model == UNKNOWN_MODEL:
                self._model = as_model(message.model) or UNKNOWN_MODEL
            take(record, message, now_ns)

    def _hear(self, record: Record, message: Message, now_ns: int) -> None:
        del record
        if message.name not in _ASKS or self._begun:
            return
        # The end of the audio is no wish of its own, but may be the last before the first token.
        if self._utterance is not None or not message.final:
            self._open(now_ns)

    def _answer(self, record: Record, message: Message, now_ns: int) -> None:
        name = message.name
        self._answers = self._answers or name == "response.created"
        if name in _ANNOUNCES and self._utterance is None:
            self._open(now_ns)
        utterance = self._utterance
        if utterance is None or (self._answers and name.startswith(_INPUT)):
            return
        said = self._dialect.read(record)
        if FinishEvent(0, "cancelled") in said:
            self._close(utterance, End.CLIENT_LEFT, now_ns)
            return
        for event in said:
            self._begun = self._begun or isinstance(event, TokenEvent)
            utterance.add(event, now_ns)
        if name in _LAST:
            self._close(utterance, End.CLEAN, now_ns)

    def _open(self, now_ns: int) -> None:
        if self._utterance is None:
            self._in_flight = self._metrics.begin()
        self._utterance = Timeline(now_ns, self._metrics.icl_edges_ns)
        self._utterance.streamed = True

    def _cut(self, end: End, end_ns: int) -> None:
        if self._utterance is not None:
            left = end is End.CLIENT_LEFT
            self._close(self._utterance, End.CLIENT_LEFT if left else End.CUT, end_ns)

    def _close(self, utterance: Timeline, end: End, now_ns: int) -> None:
        record = utterance.record(status=200, end=end, end_ns=now_ns, last_byte_ns=now_ns)
        slo = self._policy.find(self._model, self._path, self._headers, self._overrides)
        self._metrics.admit(Api.REALTIME, self._model, slo, self._in_flight)
        judged = JudgedRequest(
            Api.REALTIME,
            self._model,
            slo,
            record,
            judge(record, slo.limits),
            self._in_flight,
            self._headers,
        )
        self._metrics.observe(judged)
        self._counted = True
        self._utterance = None
        self._begun = False
        self._metrics.end()
        self._tell(self._observers, judged)
