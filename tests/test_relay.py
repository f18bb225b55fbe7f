"""The response path: framing for the client, honest ends, and equal bytes under every split."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from dataclasses import dataclass, field
from time import monotonic_ns
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from goodput_proxy.metrics import Metrics
from goodput_proxy.policy import build_policy
from goodput_proxy.record import End, RequestRecord
from goodput_proxy.relay import Relay
from goodput_proxy.settings import Settings
from goodput_proxy.tap import InferenceHead, Tap
from goodput_proxy.tapqueue import TapQueue
from goodput_proxy.upstream import UpstreamConnection
from tests.fakes import FakeTransport
from tests.integration.fake_upstream import parse_answer
from tests.streams import CASES, FRAMINGS, Case, cut, load_case, wire

if TYPE_CHECKING:
    from goodput_proxy.judged import JudgedRequest
    from goodput_proxy.slo import Judgement

SETTINGS = Settings.model_validate({"slo": {"ttft": "60s", "itl": "60s"}})
POLICY = build_policy(SETTINGS)
LENGTH = (b"Content-Length", b"3")
CODING = (b"Transfer-Encoding", b"chunked")
KEEP = b"Connection: keep-alive\r\n"
CLOSE = b"Connection: close\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
SIZED = b"Content-Length: 3\r\n"


class Clock:
    """Collect what an event loop would call soon."""

    def __init__(self) -> None:
        self.calls: list[Any] = []

    def call_soon(self, call: Any) -> None:
        self.calls.append(call)

    def run(self) -> int:
        """Do what is due; return how many calls that were."""
        calls, self.calls = self.calls, []
        for call in calls:
            call()
        return len(calls)


@dataclass
class Bench:
    """A relay between a fake transport and whoever drives it."""

    http10: bool = False
    head_request: bool = False
    keep_alive: bool = True
    transport: FakeTransport = field(default_factory=FakeTransport)
    clock: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        self.metrics = SpyMetrics()
        self.relay = Relay(
            self.transport,
            asyncio.get_running_loop().create_future(),
            head_request=self.head_request,
            http10=self.http10,
            keep_alive=self.keep_alive,
            queue=TapQueue(self.clock.call_soon, self.metrics),
        )


class SpyMetrics(Metrics):
    """Metrics that keep what they were told of requests."""

    def __init__(self) -> None:
        super().__init__(POLICY, 32)
        self.observed: list[tuple[RequestRecord, Judgement]] = []
        self.others: list[str] = []

    def observe(self, judged: JudgedRequest) -> None:
        super().observe(judged)
        self.observed.append((judged.record, judged.judgement))

    def passthrough(self, kind: Any) -> None:
        super().passthrough(kind)
        self.others.append(kind)


class HeadCase(NamedTuple):
    """A head as the upstream sends it to a kind of client, and what becomes of it."""

    client: str  # its version, HEAD if that is its method, and whether it wants to close
    status: int
    headers: list[tuple[bytes, bytes]]
    own: bytes  # what is left of the headers, and the lines of the proxy's own
    kept: bool


HEADS = [
    HeadCase("1.1", 200, [LENGTH], SIZED, kept=True),
    HeadCase("1.1", 200, [CODING], CHUNKED, kept=True),
    HeadCase("1.1", 200, [], CHUNKED, kept=True),
    HeadCase("1.1 close", 200, [LENGTH], SIZED + CLOSE, kept=False),
    HeadCase("1.1 close", 200, [CODING], CHUNKED + CLOSE, kept=False),
    HeadCase("1.0", 200, [LENGTH], SIZED + KEEP, kept=True),
    HeadCase("1.0 close", 200, [LENGTH], SIZED + CLOSE, kept=False),
    HeadCase("1.0", 200, [CODING], CLOSE, kept=False),
    HeadCase("1.0", 200, [], CLOSE, kept=False),
    HeadCase("1.1 HEAD", 200, [LENGTH], SIZED, kept=True),
    HeadCase("1.1 HEAD", 200, [CODING], CHUNKED, kept=True),
    HeadCase("1.1 HEAD", 200, [], b"", kept=True),
    HeadCase("1.0 HEAD", 200, [CODING], KEEP, kept=True),
    HeadCase("1.1", 204, [], b"", kept=True),
    HeadCase("1.1", 204, [CODING], b"", kept=True),
    HeadCase("1.1", 304, [LENGTH], SIZED, kept=True),
    HeadCase("1.1", 304, [CODING], b"", kept=True),
    HeadCase("1.0", 304, [], KEEP, kept=True),
]


@pytest.mark.parametrize("case", HEADS)
async def test_head(case: HeadCase) -> None:
    """Framing and persistence are those of the client's connection; the rest is passed on."""
    bench = Bench(
        http10="1.0" in case.client,
        head_request="HEAD" in case.client,
        keep_alive="close" not in case.client,
    )
    bench.relay.on_head(case.status, b"R", case.headers, chunked=CODING in case.headers)
    assert bench.transport.take() == []  # a body that came with it leaves with it
    bench.relay.flush()

    assert bench.transport.take() == [b"HTTP/1.1 %d R\r\n%b\r\n" % (case.status, case.own)]
    assert bench.relay.keep_alive is case.kept


async def test_chunks() -> None:
    """Chunks that came whole leave whole, in one write a read; trailers end the last of them."""
    relay, transport = (bench := Bench()).relay, bench.transport
    relay.on_head(200, b"OK", [CODING], chunked=True)
    relay.on_body([b"abc"], 0)
    relay.flush()
    relay.on_body([b"d", b"e" * 20], 0)
    relay.flush()
    relay.on_chunk(b"1\r\nf\r\n", b"f", 0)
    relay.on_body([b"g"], 0)
    relay.on_end([(b"X-A", b"1"), (b"X-B", b"")])

    head, *reads = transport.take()
    assert head == b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"
    assert reads == [
        b"1\r\nd\r\n14\r\n" + b"e" * 20 + b"\r\n",
        b"1\r\nf\r\n",
        b"1\r\ng\r\n0\r\nX-A: 1\r\nX-B: \r\n\r\n",
    ]
    assert relay.done.done()
    assert End.CLEAN is relay.end


@pytest.mark.parametrize(
    ("http10", "headers", "chunked"),
    [(False, [LENGTH], False), (True, [CODING], True), (True, [], False)],
)
async def test_bare_body(
    http10: bool,  # noqa: FBT001 -- columns of the table
    headers: list[tuple[bytes, bytes]],
    chunked: bool,  # noqa: FBT001
) -> None:
    """A body that is sized, or goes to HTTP/1.0, has no chunks and no trailers."""
    relay, transport = (bench := Bench(http10)).relay, bench.transport
    relay.on_head(200, b"OK", headers, chunked=chunked)
    relay.flush()
    transport.take()
    relay.on_body([b"a", b"b"], 0)
    relay.flush()
    relay.on_chunk(b"1\r\nc\r\n", b"c", 0)
    relay.on_end([(b"X-A", b"1")])

    assert transport.take() == [b"ab", b"c"]


@pytest.mark.parametrize(
    ("http10", "status", "expected"),
    [(False, 103, b"HTTP/1.1 103 R\r\nA: 1\r\n\r\n"), (False, 100, b""), (True, 103, b"")],
)
async def test_informational(
    http10: bool,  # noqa: FBT001 -- a column of the table
    status: int,
    expected: bytes,
) -> None:
    """A 1xx passes, but 100 concerns the upload and HTTP/1.0 knows none."""
    bench = Bench(http10)
    bench.relay.on_informational(status, b"R", [(b"A", b"1")])
    bench.relay.flush()

    assert expected == bench.transport.written
    assert bench.relay.status is None


@pytest.mark.parametrize("http10", [False, True])
async def test_continue(http10: bool) -> None:  # noqa: FBT001 -- the table's only column
    """HTTP/1.1 is asked for its body."""
    bench = Bench(http10)
    bench.relay.on_continue()

    assert bench.transport.written == (b"" if http10 else b"HTTP/1.1 100 Continue\r\n\r\n")


@pytest.mark.parametrize(
    ("end", "status", "code"),
    [
        (End.TIMED_OUT, 504, "timeout"),
        (End.CONNECT_FAILED, 502, "unreachable"),
        (End.CUT, 502, "bad_gateway"),
    ],
)
async def test_failure_before_the_head(end: End, status: int, code: str) -> None:
    """As long as nothing was passed on, a failure is an answer that says what happened."""
    bench = Bench()
    bench.relay.on_failure(end)
    answer = parse_answer(bench.transport.written, ended=None)

    assert answer is not None
    assert status == answer.status
    assert code == json.loads(answer.body)["error"]["code"]
    assert (end, False) == (bench.relay.end, bench.relay.keep_alive)
    assert bench.relay.done.done()


@pytest.mark.parametrize("http10", [False, True])
async def test_failure_after_the_head(http10: bool) -> None:  # noqa: FBT001 -- the only column
    """Afterwards nothing is appended; where no framing shows the cut, a reset does."""
    relay, transport = (bench := Bench(http10)).relay, bench.transport
    relay.on_head(200, b"OK", [CODING], chunked=True)
    relay.on_body([b"abc"], 0)
    relay.on_failure(End.CUT)

    assert len(transport.take()) == 1  # what had come
    assert relay.end is End.CUT
    assert not relay.keep_alive
    assert http10 is transport.aborted
    if http10:
        linger = transport.socket.options[socket.SOL_SOCKET, socket.SO_LINGER]
        assert struct.unpack("ii", linger) == (1, 0)


async def test_failure_after_the_end() -> None:
    """An answer that is whole is not broken off any more."""
    relay, transport = (bench := Bench(http10=True)).relay, bench.transport
    relay.on_head(200, b"OK", [], chunked=False)
    relay.on_end([])
    relay.cut()

    assert not transport.aborted


async def test_answer_to_head() -> None:
    """An answer of the proxy's own to HEAD has no body."""
    bench = Bench(head_request=True)
    bench.relay.answer(502, b"Bad Gateway", b"body")

    assert bench.transport.written.endswith(b"Content-Length: 4\r\nConnection: close\r\n\r\n")


class Source:
    """An upstream's connection as far as its relay sees it."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def pause(self) -> None:
        self.told.append("pause")

    def resume(self) -> None:
        self.told.append("resume")


async def test_flow_control() -> None:
    """The upstream is read from exactly while the client keeps up, from the first byte on."""
    relay, source = Bench().relay, Source()
    relay.pause_writing()
    relay.attach(source)
    relay.resume_writing()
    relay.pause_writing()
    assert source.told == ["pause", "resume", "pause"]
    relay.on_head(200, b"OK", [LENGTH], chunked=False)
    relay.on_end([])
    relay.resume_writing()
    relay.pause_writing()
    assert len(source.told) == 3  # it may serve another client by now


async def test_attach_while_the_client_reads() -> None:
    """A client that keeps up stops nobody."""
    relay, source = Bench().relay, Source()
    relay.pause_writing()
    relay.resume_writing()
    relay.attach(source)

    assert source.told == []


class Played:
    """What came of a response that was played through the whole response path."""

    def __init__(self, case: Case, reads: list[bytes], *, close: bool, http10: bool) -> None:
        bench = Bench(http10)
        loop = asyncio.get_running_loop()
        self.failures: list[str] = []
        upstream = UpstreamConnection(
            loop, self.failures.append, max_head_bytes=65536, idle_s=600.0
        )
        upstream.connection_made(FakeTransport())
        upstream.begin(bench.relay, "POST")
        head = InferenceHead(case.route, case.path, (), monotonic_ns())
        tap = bench.relay.tap = Tap(head, POLICY, bench.metrics, SETTINGS.limits)
        tap.hear(case.request)
        tap.ask()
        self.batches = 0
        for read in reads:
            upstream.data_received(read)
            self.batches += bench.clock.run()
        if close:
            upstream.eof_received()
            upstream.connection_lost(None)
        tap.finish(bench.relay.end, monotonic_ns())
        upstream.abort()
        self.end = bench.relay.end
        self.answer = parse_answer(bench.transport.written, ended=None)
        self.measured = [_timeless(r, j) for r, j in bench.metrics.observed] + bench.metrics.others
        self.tap_errors = {
            sample.labels["reason"]
            for family in bench.metrics.registry.collect()
            for sample in family.samples
            if sample.name == "goodput_tap_errors_total" and sample.value
        }


def _timeless(record: RequestRecord, judgement: Judgement) -> tuple[Any, ...]:
    return (
        judgement,
        record.outcome,
        record.output_tokens,
        record.input_tokens,
        record.token_source,
        sum(record.gaps.counts),
        record.ttft_ns is None,
        record.itl_ns is None,
        record.stall_ns is None,
        record.e2e_ns is None,
    )


async def test_long_stream_of_whole_chunks() -> None:
    """Every token of a stream whose reads are whole chunks is counted, whatever the batches."""
    tokens = 500
    record = b'data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\n'
    case = Case(record * tokens + b"data: [DONE]\n\n", load_case("vllm.chat.basic.sse").expected)
    whole = wire(case, "chunked", by_record=True)
    played = Played(case, cut(whole, _chunk_starts(whole)), close=False, http10=False)

    assert played.answer is not None
    assert played.answer.body == case.body
    measured: Any = played.measured
    ((judgement, _, output_tokens, *_),) = measured
    assert judgement.compliant
    assert output_tokens == tokens
    assert played.batches > 1


@given(data=st.data())
@settings(max_examples=300, deadline=None)
async def test_any_split(data: Any) -> None:
    """However a stream is framed and cut, its bytes and what is measured are the same."""
    case = load_case(data.draw(st.sampled_from(CASES)))
    framing = data.draw(st.sampled_from(FRAMINGS))
    whole = wire(case, framing)
    positions = st.one_of(
        st.lists(st.integers(1, len(whole) - 1)),
        st.just(range(len(whole))),
        st.just(_chunk_starts(whole)),
    )
    reads = cut(whole, data.draw(positions))
    played = Played(case, reads, close=framing == "close", http10=False)
    plain = Played(case, [wire(case, "sized")], close=False, http10=False)

    assert played.answer is not None
    assert played.answer.body == case.body
    assert played.answer.complete
    assert (played.failures, played.tap_errors) == ([], set())
    assert End.CLEAN is played.end
    assert plain.measured == played.measured
    assert len(played.measured) == 1


@given(data=st.data())
@settings(max_examples=150, deadline=None)
async def test_any_cut_is_seen(data: Any) -> None:
    """A stream that breaks off anywhere inside its framing never looks whole to its client."""
    case = load_case(data.draw(st.sampled_from(CASES)))
    whole = wire(case, data.draw(st.sampled_from(["chunked", "sized"])))
    length = data.draw(st.integers(1, len(whole) - 1))
    reads = cut(whole[:length], data.draw(st.lists(st.integers(1, length), max_size=10)))
    played = Played(case, reads, close=True, http10=False)

    assert End.CUT is played.end
    assert len(played.failures) == 1
    assert len(played.measured) == 1
    if played.answer is not None:
        assert played.answer.status == 502


def _chunk_starts(whole: bytes) -> list[int]:
    """Return where chunks begin: a read that is one whole chunk is the common case."""
    starts = []
    at = whole.index(b"\r\n\r\n") + 4
    while b"chunked" in whole[:at] and at < len(whole):
        starts.append(at)
        eol = whole.index(b"\r\n", at)
        at = eol + 2 + int(whole[at:eol], 16) + 2
    return starts
