"""The border between the bytes and the meter of one response.

The relay hands a copy of what it forwarded to a `Tap`, which frames, reads and times it.
Whatever goes wrong in there, the response is unharmed (see `guard.py`); when it looks at what it
holds stands in `tapqueue.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .body import BodyCopy, RequestBody
from .classify import Ask, Passthrough, read_ask
from .faults import MeterFault
from .guard import FeedMeter
from .heads import find_header
from .judged import JudgedRequest
from .policy import DEFAULT_CLASS
from .record import End, Outcome
from .slo import judge
from .stream import Api, make_dialect, make_framer
from .stream.events import TokenEvent, UnclassifiedEvent
from .stream.framing import MAX_RECORD_BYTES
from .stream.inflate import Inflater, Undecodable, make_inflater
from .stream.reader import StreamReader
from .timeline import Timeline

if TYPE_CHECKING:
    from .classify import Route
    from .heads import Headers
    from .judged import Observer
    from .ledger import Ledger
    from .policy import Policy, SloClass
    from .record import RequestRecord
    from .settings import LimitSettings
    from .stream.dialect import Dialect
    from .stream.events import Event

# Of a read that matches its stream's template only the time is kept, up to so many.
_BATCH_TIMES: Final = 128
# After a run of so many, what does not match is looked at soon: what follows matches again, but
# has to wait for it. In a stream where runs are shorter that would cost more than it saves.
_LONG_RUN: Final = 8
# Other reads are looked at when there are so many, or one is so large, or the stream has ended.
_BATCH_READS: Final = 32
_BATCH_READ_BYTES: Final = 512
# What is larger than this is cut, and not more of it looked at in one go.
_SLICE_BYTES: Final = 4 * 1024
_LOOK_BYTES: Final = 16 * 1024
# No more reads than this are held: who sends faster than that waits for the meter.
_MAX_READS: Final = 64
# A body with a content coding is looked at in so many pieces at a time.
_LOOK_PIECES: Final = 4
# Media types whose bytes are the output themselves.
_OPAQUE_TYPES: Final = frozenset(("audio", "image", "video"))


class InferenceHead:
    """What the meter knows of a request before its body."""

    __slots__ = ("headers", "in_flight", "path", "route", "t0_ns")

    def __init__(
        self, route: Route, path: str, headers: Headers, t0_ns: int, in_flight: int = 1
    ) -> None:
        self.route = route
        self.path = path
        self.headers = headers
        self.t0_ns = t0_ns  # when the head had been read
        self.in_flight = in_flight  # inference requests then, itself included


class Tap(FeedMeter):
    """The meter of one inference request.

    Args:
        head: what the request's head says.
        policy: the classes that were in force when the request came.
        metrics: where the verdict and the meter's own errors are counted.
        limits: bounds on what is looked into.
        observers: who is told of the request when it has been counted.
    """

    __slots__ = (
        "_answer",
        "_ask",
        "_batch_reads",
        "_batch_times",
        "_body",
        "_broken",
        "_counted",
        "_head",
        "_inflater",
        "_last_byte_ns",
        "_limits",
        "_observers",
        "_plain",
        "_policy",
        "_reads",
        "_run_ns",
        "_slo",
        "_status",
        "_stream",
        "_timeline",
        "_times_ns",
    )

    def __init__(
        self,
        head: InferenceHead,
        policy: Policy,
        metrics: Ledger,
        limits: LimitSettings,
        observers: tuple[Observer, ...] = (),
    ) -> None:
        super().__init__(metrics)
        self._head = head
        self._policy = policy
        self._limits = limits
        self._body = RequestBody(limits.body_scan_bytes)
        self._ask = Ask(head.route.model)
        self._slo: SloClass | None = None  # found when first needed
        self._status: int | None = None
        self._stream: StreamReader | None = None  # of a streamed answer
        self._plain: StreamReader | None = None  # the same, if its bytes are those of the wire
        self._inflater: Inflater | None = None  # of a body with a content coding
        self._answer: tuple[BodyCopy, Dialect] | None = None  # of an answer in one piece
        self._timeline = Timeline(head.t0_ns, metrics.icl_edges_ns)
        self._last_byte_ns: int | None = None
        self._run_ns: list[int] = []  # times of reads that matched and are not yet counted
        self._reads: list[bytes] = []  # read after those and not yet looked at, with their times
        self._times_ns: list[int] = []
        self._batch_reads = 1
        # Streams that begin together would otherwise all be looked at in the same instant.
        self._batch_times = _BATCH_TIMES - head.t0_ns % (_BATCH_TIMES // 2)
        self._broken = False
        self._counted = False
        self._observers = observers

    def hear(self, piece: bytes) -> None:
        """Take a piece of the request's body that has been forwarded."""
        self._guard(self._body.add, piece)

    def ask(self) -> None:
        """Read what was kept of the request's body, when all of it has been forwarded."""
        self._guard(self._read_request)

    def begin(self, status: int, content_type: str, content_encoding: str) -> None:
        """Take note of a response head that has been forwarded."""
        self._status = status
        self._guard(self._choose_reader, content_type, content_encoding)

    def digest(self) -> bool:
        """Look at the oldest of what is held; return whether that was all."""
        self._guard(self._read_response)
        return self._broken or not self._reads

    def finish(self, end: End, end_ns: int) -> None:
        """Judge and count the request, when its exchange has ended."""
        self._guard(self._read_rest)
        self._guard(self._judge, end, end_ns)
        self._guard(self._judge_unmeasured, end, end_ns)
        self._guard(self._count_unmeasured)

    def _give_up(self) -> None:
        """Measure this request no further than the data path does."""
        self._broken = True
        self._stream = self._plain = self._answer = self._inflater = None
        self._reads, self._times_ns, self._run_ns = [], [], []

    def _read_request(self) -> None:
        head = self._head
        body = self._body.take()
        content_type = find_header(head.headers, b"content-type").decode("latin-1")
        self._ask = read_ask(head.route, content_type, body)

    def _find_class(self) -> SloClass:
        if self._slo is None:  # once a request, and not before its response's head is passed on
            head = self._head
            overrides = self._policy.read_overrides(head.headers)
            self._metrics.slo_header_errors(overrides.faults)
            self._slo = self._policy.find(self._ask.model, head.path, head.headers, overrides)
        return self._slo

    def _choose_reader(self, content_type: str, content_encoding: str) -> None:
        if self._status is None or self._status >= 300:
            return  # its verdict is its status
        endpoint, ask, limits = self._head.route.endpoint, self._ask, self._limits
        self._metrics.admit(endpoint.api, ask.model, self._find_class(), self._head.in_flight)
        dialect = make_dialect(endpoint, generates=ask.generates, echo=ask.echo)
        media_type = content_type.partition(";")[0].strip().lower()
        framer = make_framer(endpoint, media_type, limits.record_bytes)
        coded = content_encoding not in {"", "identity"}
        self._inflater = make_inflater(content_encoding) if coded else None
        if coded and self._inflater is None:
            self._skip(MeterFault.CONTENT_ENCODING)
        elif framer is not None:
            self._stream = StreamReader(framer, dialect)
            self._timeline.streamed = True
            self._plain = None if coded else self._stream
        elif media_type == "application/json":
            self._answer = BodyCopy(limits.body_copy_bytes), dialect
        elif media_type.partition("/")[0] in _OPAQUE_TYPES or (
            endpoint.api is Api.TRANSCRIPTIONS and media_type.startswith("text/")
        ):
            self._timeline.opaque = True
        else:
            self._skip(MeterFault.CONTENT_TYPE)

    def _take(self, data: bytes, now_ns: int) -> bool:
        """Compare a read with the template at once; hold what does not match for later.

        Returns:
            Whether it is time for `digest`.
        """
        self._last_byte_ns = now_ns
        stream = self._plain
        if stream is not None and not self._reads and stream.matches(data):
            self._run_ns.append(now_ns)
            return len(self._run_ns) == self._batch_times
        if self._broken:
            return False
        while len(self._reads) >= _MAX_READS and self._inflater is None:
            self._read_response()
        if len(data) > _SLICE_BYTES and not _is_one_record(data):
            slices = [data[i : i + _SLICE_BYTES] for i in range(0, len(data), _SLICE_BYTES)]
            self._reads += slices
            self._times_ns += [now_ns] * len(slices)
            return True
        self._reads.append(data)
        self._times_ns.append(now_ns)
        return (
            len(self._reads) == self._batch_reads
            or len(data) > _BATCH_READ_BYTES
            or len(self._run_ns) >= _LONG_RUN
        )

    def _read_rest(self) -> None:
        """Look at all that is held."""
        self._read_response()
        while self._reads:
            self._read_response()

    def _read_response(self) -> None:
        if self._inflater is not None:
            self._read_inflated(self._inflater)
            return
        if self._run_ns:
            self._count_run()
        if not self._reads:
            return
        reads, times_ns = self._take_held()
        # A template is made of one of the first records: they are looked at soon.
        self._batch_reads = min(
            2 * self._batch_reads, _BATCH_READS - self._head.t0_ns % (_BATCH_READS // 2)
        )
        if self._stream is not None:
            for data, now_ns in zip(reads, times_ns, strict=True):
                for event in self._stream.read(data):
                    self._timeline.add(event, now_ns)
        elif self._answer is not None:
            for data in reads:
                self._answer[0].add(data)

    def _take_held(self) -> tuple[list[bytes], list[int]]:
        """Return the oldest reads that are held, as many as may be looked at in one go."""
        size = held_bytes = 0
        for data in self._reads:
            held_bytes += len(data)
            size += 1
            if size == _BATCH_READS or held_bytes >= _LOOK_BYTES:
                break
        reads, times_ns = self._reads[:size], self._times_ns[:size]
        if size == len(self._reads):
            self._reads, self._times_ns = [], []
        else:
            del self._reads[:size], self._times_ns[:size]
        return reads, times_ns

    def _count_run(self) -> None:
        run_ns, self._run_ns = self._run_ns, []
        if self._stream is not None:
            self._timeline.add_run(self._stream.events, run_ns)

    def _read_inflated(self, inflater: Inflater) -> None:
        """Look at a few pieces of a body with a content coding, each however large a read was."""
        for _ in range(_LOOK_PIECES):
            if not self._reads:
                return
            now_ns = self._last_byte_ns = self._times_ns[0]
            try:
                piece = inflater.step(b"" if inflater.pending else self._reads[0])
            except Undecodable:
                self._metrics.tap_error(MeterFault.CONTENT_ENCODING)
                self._give_up()
                return
            if not inflater.pending:
                del self._reads[0], self._times_ns[0]
            if piece:
                self._read_piece(piece, now_ns)

    def _read_piece(self, piece: bytes, now_ns: int) -> None:
        if self._stream is not None:
            for event in self._stream.read(piece):
                self._timeline.add(event, now_ns)
        elif self._answer is not None:
            self._answer[0].add(piece)

    def _read_end(self, now_ns: int) -> None:
        """Read what is readable only now that the body has ended cleanly."""
        events: list[Event] = []
        if self._stream is not None:
            events = self._stream.finish()
        elif self._answer is not None:
            body, dialect = self._answer
            if body.overflowed:
                self._skip(MeterFault.OVERSIZE_BODY)
            else:
                events = dialect.read_unary(body.take())
        for event in events:
            self._timeline.add(event, now_ns)

    def _skip(self, reason: MeterFault) -> None:
        """Measure no more than the last byte, and say why."""
        self._timeline.add(UnclassifiedEvent(reason), 0)

    def _judge(self, end: End, end_ns: int) -> None:
        if self._broken:
            return
        if end is End.CLEAN and self._last_byte_ns is not None:
            self._read_end(self._last_byte_ns)
        record = self._timeline.record(
            status=self._status,
            end=end,
            end_ns=end_ns,
            last_byte_ns=self._last_byte_ns,
            generates=self._ask.generates and self._head.route.endpoint.generates,
            stream_asked=self._ask.stream,
        )
        self._count(record)

    def _judge_unmeasured(self, end: End, end_ns: int) -> None:
        """Count a request whose meter broke by what the data path alone knows of it.

        An answer that ended well was not measured: to call it good would show a broken meter as
        goodput, so it is counted apart.
        """
        if self._counted:
            return
        timeline = Timeline(self._head.t0_ns, ())
        timeline.add(TokenEvent(), self._head.t0_ns)
        record = timeline.record(
            status=self._status, end=end, end_ns=end_ns, last_byte_ns=self._last_byte_ns
        )
        if record.outcome is not Outcome.OK:
            self._count(record)

    def _count_unmeasured(self) -> None:
        """Count a request that was not counted otherwise."""
        if not self._counted:
            self._metrics.passthrough(Passthrough.UNMEASURED)

    def _count(self, record: RequestRecord) -> None:
        slo, api = self._find_class(), self._head.route.endpoint.api
        aside = self._ask.aside or (Passthrough.CONTROL if record.control else None)
        if aside is None and api is Api.EMBEDDINGS and slo.name == DEFAULT_CLASS:
            aside = Passthrough.EMBEDDING  # no class names it, after all
        if aside is not None:
            self._metrics.passthrough(aside)
            self._counted = True
            return
        judged = JudgedRequest(
            api,
            self._ask.model,
            slo,
            record,
            judge(record, slo.limits),
            self._head.in_flight,
            self._head.headers,
        )
        self._metrics.observe(judged)
        self._counted = True
        self._tell(self._observers, judged)


def _is_one_record(data: bytes) -> bool:
    """Return whether a large read is one record: cheap to read as it is, and dear in slices.

    It has no line end but at its end, and perhaps one behind the name of its event.
    """
    return len(data) <= MAX_RECORD_BYTES and data.find(b"\n", 64) >= len(data) - 4
