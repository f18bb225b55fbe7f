"""The upstream's connection: responses read from bytes, without sockets."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from goodput_proxy.record import End
from goodput_proxy.upstream import UpstreamConnection
from tests.fakes import FakeTransport, RecordingSink
from tests.streams import cut
from tests.waiting import eventually

if TYPE_CHECKING:
    from goodput_proxy.heads import Headers

MAX_HEAD_BYTES = 500
CHUNKED_HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
SIZED = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
RESET = ConnectionResetError()


class Bench:
    """A connection with an exchange under way."""

    def __init__(self, method: str = "GET", idle_s: float = 600.0) -> None:
        self.failures: list[str] = []
        self.transport = FakeTransport()
        self.connection = UpstreamConnection(
            asyncio.get_running_loop(),
            self.failures.append,
            max_head_bytes=MAX_HEAD_BYTES,
            idle_s=idle_s,
        )
        self.connection.connection_made(self.transport)
        self.begin(method)

    def begin(self, method: str = "GET") -> None:
        """Begin an exchange whose request has been sent."""
        self.sink = RecordingSink()
        self.connection.begin(self.sink, method)
        self.connection.request_sent = True

    def read(self, *reads: bytes) -> list[tuple[Any, ...]]:
        """Receive bytes; return what the sink was told."""
        for data in reads:
            self.connection.data_received(data)
        return self.sink.calls

    def lose(self, exc: Exception | None = None) -> list[tuple[Any, ...]]:
        """Lose the connection; return what the sink was told."""
        if exc is None:
            self.connection.eof_received()
        self.connection.connection_lost(exc)
        return self.sink.calls


async def test_a_connection_on_which_a_500_came_is_not_used_again() -> None:
    """Uvicorn closes it without a word, and a request that was sent in between would be lost."""
    bench = Bench()
    bench.read(SIZED.replace(b"200 OK", b"500 Oh"))

    assert not bench.connection.usable


SWITCH = b"HTTP/1.1 101 Switching\r\nUpgrade: WebSocket\r\nConnection: upgrade\r\n\r\n"


@pytest.mark.parametrize("cut", [0, 10, len(SWITCH) - 1])
async def test_a_switch_that_was_asked_for(cut: int) -> None:
    """The connection is handed over with what came behind the 101, and is not ours any more."""
    bench = Bench()
    bench.connection.begin(bench.sink, "GET", b"other, WebSocket")
    bench.connection.request_sent = True
    calls = bench.read(SWITCH[:cut], SWITCH[cut:] + b"early")
    bench.connection.abort()
    bench.lose()

    headers = [(b"Upgrade", b"WebSocket"), (b"Connection", b"upgrade")]
    assert calls == [("switch", b"Switching", headers, bench.transport, b"early")]
    assert not bench.transport.is_closing()
    assert not bench.connection.usable
    assert bench.failures == []


@pytest.mark.parametrize(
    ("asked", "head"),
    [
        (b"", SWITCH),
        (b"other", SWITCH),
        (b"websocket", SWITCH.replace(b"Connection: upgrade\r\n", b"")),
    ],
)
async def test_a_switch_that_was_not_asked_for(asked: bytes, head: bytes) -> None:
    """To another protocol, when none was asked for, or half a one, it breaks the exchange."""
    bench = Bench()
    bench.connection.begin(bench.sink, "GET", asked)
    bench.connection.request_sent = True

    assert bench.read(head + b"early") == [("failure", End.CUT)]


@pytest.mark.parametrize("full", [True, False])
async def test_a_switch_before_its_time(full: bool) -> None:  # noqa: FBT001 -- a parameter
    """A server that has not taken the whole request cannot have read it (RFC 9110, 7.8)."""
    bench = Bench()
    bench.connection.begin(bench.sink, "GET", b"websocket")
    bench.connection.request_sent = full
    if full:
        bench.connection.pause_writing()

    assert bench.read(SWITCH) == [("failure", End.CUT)]


async def test_fresh_connection() -> None:
    """A connection that was just made is usable, and is not while an exchange runs."""
    bench = Bench()
    assert not bench.connection.usable
    fresh = UpstreamConnection(
        asyncio.get_running_loop(), bench.failures.append, max_head_bytes=1, idle_s=1.0
    )
    assert not fresh.usable
    fresh.connection_made(FakeTransport())
    assert fresh.usable


async def test_sized_response() -> None:
    """Head, body and end are told in order, with the bytes of the head as they came."""
    calls = Bench().read(
        b"HTTP/1.1 200 tr\xe8s\r\nX-a: \xe9 \r\nx-A:\r\nContent-Length: 3\r\n\r\nabc"
    )

    assert calls == [
        (
            "head",
            200,
            b"tr\xe8s",
            [(b"X-a", b"\xe9 "), (b"x-A", b""), (b"Content-Length", b"3")],
            False,
        ),
        ("body", b"abc", 1),
        ("end", []),
    ]


async def test_head_in_pieces() -> None:
    """A head may come in any number of reads."""
    data = b"HTTP/1.1 200 All is well\r\nX-Name: some value\r\nContent-Length: 1\r\n\r\n!"

    assert Bench().read(*cut(data, range(len(data)))) == Bench().read(data)


async def test_chunks_of_one_read() -> None:
    """The chunks of one read are told together, and their number is known."""
    calls = Bench().read(CHUNKED_HEAD, b"1\r\na\r\n2\r\nbc\r\n", b"1\r\nd\r\n0\r\nX-T: 1\r\n\r\n")

    assert calls[1:] == [("body", b"abc", 2), ("body", b"d", 1), ("end", [(b"X-T", b"1")])]


WHOLE = [
    # a read behind a complete chunk, and what the sink is told: a whole chunk passes unparsed
    (b"3\r\nabc\r\n", ("chunk", b"abc", b"3\r\nabc\r\n")),
    (b"a\r\n0123456789\r\n", ("chunk", b"0123456789", b"a\r\n0123456789\r\n")),
    (b"14\r\n" + b"x" * 20 + b"\r\n", ("chunk", b"x" * 20, b"14\r\n" + b"x" * 20 + b"\r\n")),
    (b"A\r\n0123456789\r\n", ("body", b"0123456789", 1)),
    (b"03\r\nabc\r\n", ("body", b"abc", 1)),
    (b"3;e\r\nabc\r\n", ("body", b"abc", 1)),
    (b"1\r\na\r\n1\r\nb\r\n", ("body", b"ab", 2)),
    (b"5\r\nabc\r\n", ("body", b"abc\r\n", 1)),
    (b"1000\r\n" + b"x" * 4096 + b"\r\n", ("body", b"x" * 4096, 1)),
    # a chunk that looks as if it held another
    (b"8\r\n3\r\nabc\r\n\r\n", ("chunk", b"3\r\nabc\r\n", b"8\r\n3\r\nabc\r\n\r\n")),
]


@pytest.mark.parametrize(("read", "told"), WHOLE)
async def test_whole_chunk(read: bytes, told: tuple[Any, ...]) -> None:
    """A read that is one plain chunk is passed on as it is; any other is parsed."""
    bench = Bench()
    calls = bench.read(CHUNKED_HEAD + b"1\r\n_\r\n", read)

    assert calls[2:] == [told]


LOOKS_WHOLE = b"3\r\nabc\r\n"
INSIDE = [
    # reads behind the head, the last of them before the end; the body that they hold
    ([b"", LOOKS_WHOLE], b"abc"),
    ([b"8\r\n", LOOKS_WHOLE, b"\r\n"], LOOKS_WHOLE),
    ([b"a\r\nab", LOOKS_WHOLE, b"\r\n"], b"ab" + LOOKS_WHOLE),
    ([b"1\r\n_", b"\r\n" + LOOKS_WHOLE], b"_abc"),
    ([b"1\r\n_\r", b"\n" + LOOKS_WHOLE], b"_abc"),
    ([b"1\r\n_\r\n8\r\n", LOOKS_WHOLE, b"\r\n"], b"_" + LOOKS_WHOLE),
    ([b"1\r\n_\r\n8", b"\r\n", LOOKS_WHOLE, b"\r\n"], b"_" + LOOKS_WHOLE),
    ([b"1\r\n_\r\n8\r", b"\n", LOOKS_WHOLE, b"\r\n"], b"_" + LOOKS_WHOLE),
    ([b"1\r\n_\r\n", b"8;a=b\r\n", LOOKS_WHOLE, b"\r\n"], b"_" + LOOKS_WHOLE),
    ([b"1\r\n_\r\n", b"a\r\n\r\n", LOOKS_WHOLE, b"\r\n"], b"_\r\n" + LOOKS_WHOLE),
]


@pytest.mark.parametrize(("reads", "body"), INSIDE)
async def test_no_whole_chunk_inside_another(reads: list[bytes], body: bytes) -> None:
    """What looks like a chunk but stands inside of one is data."""
    bench = Bench()
    calls = bench.read(CHUNKED_HEAD + reads[0], *reads[1:], b"0\r\n\r\n")

    assert body == bench.sink.body
    assert calls[-1] == ("end", [])
    assert not any(call[0] == "chunk" for call in calls)


@given(data=st.data())
@settings(max_examples=300, deadline=None)
async def test_any_chunks_in_any_reads(data: Any) -> None:
    """Chunks of any size and content, in any reads, give the same body and end."""
    piece = st.binary(min_size=1, max_size=40) | st.sampled_from(
        [b"3\r\nabc\r\n", b"\r\n", b"0\r\n\r\n", b"1\r\n", b"x" * 300]
    )
    pieces = data.draw(st.lists(piece, max_size=12))
    size_line = data.draw(st.sampled_from([b"%x\r\n", b"%X\r\n", b"0%x\r\n", b"%x;a=b\r\n"]))
    chunks = [size_line % len(p) + p + b"\r\n" for p in pieces]
    whole = CHUNKED_HEAD + b"".join(chunks) + b"0\r\nX-T: 1\r\n\r\n"
    edges = [len(CHUNKED_HEAD)]
    for one in chunks:
        edges.append(edges[-1] + len(one))
    positions = st.lists(st.integers(1, len(whole)), max_size=40) | st.just(edges)
    bench = Bench()
    calls = bench.read(*cut(whole, data.draw(positions)))

    assert bench.sink.body == b"".join(pieces)
    assert calls[-1] == ("end", [(b"X-T", b"1")])
    assert bench.failures == []
    assert bench.connection.usable


@pytest.mark.parametrize(
    "response",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    ],
)
async def test_head_request(response: bytes) -> None:
    """A response to HEAD ends with its head, whatever that promises."""
    bench = Bench("HEAD")
    assert [call[0] for call in bench.read(response)] == ["head", "end"]
    assert bench.connection.usable
    bench.begin()
    assert bench.read(SIZED)[1:] == [("body", b"ok", 1), ("end", [])]


@pytest.mark.parametrize("status", [204, 304])
async def test_no_body(status: int) -> None:
    """204 and 304 end with their head, and the connection can be used again."""
    bench = Bench()
    calls = bench.read(b"HTTP/1.1 %d N\r\nContent-Length: 5\r\n\r\n" % status)

    assert [call[0] for call in calls] == ["head", "end"]
    bench.begin()
    assert bench.read(SIZED)[1:] == [("body", b"ok", 1), ("end", [])]


async def test_informational() -> None:
    """1xx responses are told apart from the final one."""
    calls = Bench().read(b"HTTP/1.1 103 Hints\r\nA: 1\r\n\r\nHTTP/1.1 102 P\r\n\r\n" + SIZED)

    assert [call[:2] for call in calls] == [
        ("informational", 103),
        ("informational", 102),
        ("head", 200),
        ("body", b"ok"),
        ("end", []),
    ]


async def test_close_delimited() -> None:
    """Closing ends a body without framing, and the connection with it."""
    bench = Bench()
    bench.read(b"HTTP/1.1 200 OK\r\n\r\na", b"b")
    calls = bench.lose()

    assert (bench.sink.body, calls[-1]) == (b"ab", ("end", []))
    assert not bench.connection.usable
    assert bench.failures == []


async def test_close_delimited_without_a_farewell() -> None:
    """A connection that is gone without an end, as TLS can be, has cut the body off."""
    bench = Bench()
    bench.read(b"HTTP/1.1 200 OK\r\n\r\na")
    bench.connection.connection_lost(None)

    assert bench.sink.calls[-1] == ("failure", "cut")


@pytest.mark.parametrize(
    ("read", "exc", "reason"),
    [
        (b"", None, "closed"),
        (b"", RESET, "reset"),
        (b"HTTP/1.1 200 O", None, "closed"),
        (b"HTTP/1.1 103 Hints\r\n\r\n", None, "closed"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc", None, "closed"),
        (CHUNKED_HEAD + b"3\r\nabc\r\n", None, "closed"),
        (CHUNKED_HEAD + b"3\r\nabc\r\n0\r\n", None, "closed"),
        (CHUNKED_HEAD + b"3\r\nabc\r\n", RESET, "reset"),
        (b"HTTP/1.1 200 OK\r\n\r\nab", RESET, "reset"),
    ],
)
async def test_cut(read: bytes, exc: Exception | None, reason: str) -> None:
    """Whatever is lost before its end is a failure, and its kind is counted."""
    bench = Bench()
    bench.read(read)

    assert bench.lose(exc)[-1] == ("failure", End.CUT)
    assert bench.failures == [reason]


@pytest.mark.parametrize(
    "response",
    [
        b"garbage\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: " + b"a" * 500 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: " + b"a" * 600,
        b"HTTP/1.1 200 " + b"a" * 600,
        CHUNKED_HEAD + b"zz\r\n",
        CHUNKED_HEAD + b"1\r\na\r\n" + b"zz\r\n",
    ],
)
async def test_malformed(response: bytes) -> None:
    """What cannot be trusted is broken off, and its connection is closed."""
    bench = Bench()

    calls = bench.read(response)
    assert calls[-1] == ("failure", End.CUT)
    assert "informational" not in [call[0] for call in calls]
    assert bench.failures == ["protocol"]
    assert bench.transport.aborted
    assert not bench.connection.usable


@pytest.mark.parametrize(
    ("read", "told"),
    [(b"zz\r\n", b""), (b"3\r\nabcde", b"abc"), (b"3\r\nabc\n\n", b"abc"), (b"\r\n", b"")],
)
async def test_malformed_in_a_read_of_its_own(read: bytes, told: bytes) -> None:
    """What follows whole chunks that were not parsed is parsed as if they had been."""
    bench = Bench()
    bench.read(CHUNKED_HEAD + b"1\r\n_\r\n", b"1\r\na\r\n", b"1\r\nb\r\n", read)

    assert bench.sink.body == b"_ab" + told
    assert bench.failures == ["protocol"]


@pytest.mark.parametrize("last", [b"0\r\n\r\n", b"1\r\n_\r\n0\r\nX-T: 1\r\n\r\n"])
async def test_chunks_of_another_exchange(last: bytes) -> None:
    """A response without chunks is not taken for one, whatever the connection carried before."""
    bench = Bench()
    assert bench.read(CHUNKED_HEAD, b"1\r\n_\r\n", last)[-1][0] == "end"
    bench.begin()
    bench.read(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n", LOOKS_WHOLE)

    assert bench.sink.body == LOOKS_WHOLE
    assert bench.sink.calls[-1] == ("end", [])


@pytest.mark.parametrize(
    ("method", "response"),
    [
        ("GET", SIZED + b"x"),
        ("GET", SIZED + SIZED),
        ("GET", CHUNKED_HEAD + b"0\r\n\r\n" + SIZED),
        ("GET", b"HTTP/1.1 204 N\r\n\r\nx"),
        ("GET", SIZED + b"HTTP/1.1 101 S\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nraw"),
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no"),
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" + SIZED),
        ("HEAD", CHUNKED_HEAD + b"2\r\nok\r\n0\r\n\r\n"),
    ],
)
async def test_surplus(method: str, response: bytes) -> None:
    """What follows a complete response is told to nobody, and the connection is not used again."""
    bench = Bench(method)
    calls = bench.read(response)

    assert calls[-1] == ("end", [])
    assert [call[0] for call in calls].count("head") == 1
    assert not bench.connection.usable
    assert bench.failures == []


async def test_unasked_bytes() -> None:
    """A server that speaks while nothing was asked is out of step."""
    bench = Bench()
    bench.read(SIZED)
    assert bench.connection.usable
    bench.connection.data_received(b"x")

    assert bench.transport.aborted
    assert not bench.connection.usable


@pytest.mark.parametrize(
    "response",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    ],
)
async def test_server_that_will_close(response: bytes) -> None:
    """A connection that its server is about to close is not used again."""
    bench = Bench()

    assert bench.read(response)[-1] == ("end", [])
    assert not bench.connection.usable


async def test_unsent_request() -> None:
    """An answer that came before the end of its request spoils the connection."""
    bench = Bench()
    bench.connection.request_sent = False

    assert bench.read(SIZED)[-1] == ("end", [])
    assert not bench.connection.usable


async def test_closed_while_idle() -> None:
    """A connection that its server closes while it is idle is not used again, and no failure."""
    bench = Bench()
    calls = list(bench.read(SIZED))

    assert bench.lose() == calls
    assert not bench.connection.usable
    assert bench.failures == []


async def test_writes() -> None:
    """The request goes to the transport; once the connection is lost it goes nowhere."""
    bench = Bench()
    bench.connection.write(b"a")
    bench.lose(RESET)
    bench.connection.write(b"b")

    assert bench.transport.written == b"a"


async def test_flow_control_of_the_upload() -> None:
    """Who uploads waits while the server does not read, and no longer than the connection lasts."""
    bench = Bench()
    await bench.connection.drain()
    for go_on in (bench.connection.resume_writing, bench.lose):
        bench.connection.pause_writing()
        waiting = asyncio.create_task(bench.connection.drain())
        await asyncio.sleep(0)
        assert not waiting.done()
        go_on()
        await waiting
    await bench.connection.drain()


async def test_cancelled_upload() -> None:
    """An upload that is broken off while it waits leaves the connection's flow control intact."""
    bench = Bench()
    bench.connection.pause_writing()
    waiting = asyncio.create_task(bench.connection.drain())
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.sleep(0)
    bench.connection.resume_writing()

    await bench.connection.drain()


async def test_flow_control_of_the_response() -> None:
    """Reading stops and goes on as the relay asks; a finished exchange never leaves it stopped."""
    bench = Bench()
    bench.connection.pause()
    assert not bench.transport.is_reading()
    bench.connection.resume()
    assert bench.transport.is_reading()
    bench.connection.pause()
    bench.read(SIZED)
    assert bench.transport.is_reading()
    bench.begin()
    bench.lose()
    bench.connection.pause()
    bench.connection.resume()


async def test_a_client_that_is_full_at_the_end() -> None:
    """What the end of a response pauses is resumed: the connection serves others after this."""
    bench = Bench()
    told = bench.sink.on_end

    def full(trailers: Headers) -> None:
        told(trailers)
        bench.connection.pause()

    bench.sink.on_end = full  # type: ignore[method-assign]
    bench.read(SIZED)

    assert bench.transport.is_reading()
    assert bench.connection.usable


async def test_idle_timeout() -> None:
    """Silence breaks an exchange off, and no failure of the past does so again."""
    bench = Bench(idle_s=0.02)
    await eventually(lambda: bench.failures)

    assert bench.sink.calls == [("failure", End.TIMED_OUT)]
    assert bench.failures == ["timeout"]
    assert bench.transport.aborted
    bench.connection._check_idle()
    assert bench.failures == ["timeout"]


async def test_idle_timeout_of_a_paused_exchange() -> None:
    """A client that does not read is not the server's fault."""
    bench = Bench(idle_s=0.02)
    bench.connection.pause()
    await asyncio.sleep(0.06)
    assert bench.failures == []
    bench.connection.resume()
    assert bench.failures == []
    bench.connection.abort()


async def test_idle_timeout_of_an_upload() -> None:
    """A client that does not send is not the server's fault; a server that does not take is."""
    bench = Bench(idle_s=0.02)
    bench.connection.request_sent = False
    await asyncio.sleep(0.06)
    assert bench.failures == []
    bench.connection.pause_writing()
    await eventually(lambda: bench.failures)

    assert bench.sink.calls == [("failure", End.TIMED_OUT)]


async def test_progress_defers_the_timeout() -> None:
    """The timeout counts from the last byte in either direction."""
    bench = Bench(idle_s=0.1)
    bench.read(CHUNKED_HEAD)
    for _ in range(4):
        await asyncio.sleep(0.03)
        bench.read(b"1\r\na\r\n")
    for _ in range(4):
        await asyncio.sleep(0.03)
        bench.connection.write(b"a")
    assert bench.failures == []
    bench.connection.abort()


async def test_abort() -> None:
    """Closing at once tells nobody of what still arrives."""
    bench = Bench()
    bench.connection.abort()
    bench.connection.data_received(SIZED)

    assert bench.transport.aborted
    assert bench.lose(RESET) == []
    assert bench.failures == []
    bench.connection.abort()
