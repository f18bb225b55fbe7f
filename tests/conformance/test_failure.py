"""Promises 26, 27 and 34: an upstream that fails, and what its client is told."""

from __future__ import annotations

import asyncio
import json
import socket
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from tests.integration.fake_upstream import Ending, FakeUpstream
from tests.integration.harness import SSE_HEAD, RunningProxy, chunk, post, sized, token

if TYPE_CHECKING:
    from tests.integration.conftest import StartProxy
    from tests.integration.fake_upstream import Answer, Peer

SIZED_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 9999\r\n\r\n"
OPEN_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"


def assert_error(answer: Answer, status: int, code: str) -> None:
    """Compare an answer of the proxy's own: OpenAI's shape, and the connection closes."""
    assert answer.status == status
    assert answer.header(b"Content-Type") == b"application/json"
    assert answer.header(b"Connection") == b"close"
    error = json.loads(answer.body)["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert (error["type"], error["code"]) == ("proxy_error", code)


async def count_errors(proxy: RunningProxy, reason: str, cause: str) -> None:
    """Check that one request failed, for this cause, and that the upstream is blamed once."""
    samples = await proxy.samples()
    assert samples.total("goodput_upstream_errors_total") == 1
    assert samples.total("goodput_upstream_errors_total", reason=reason) == 1
    assert samples.verdicts() == {("error", cause): 1}


async def test_34_connect_refused_is_502(proxy: RunningProxy, upstream: FakeUpstream) -> None:
    """Nobody listens: 502 at once."""
    await upstream.stop()
    client = await proxy.connect()
    client.send(post(b'{"model": "m"}'))

    assert_error(await client.answer(), 502, "unreachable")
    assert await client.ended() is Ending.FIN
    await count_errors(proxy, "connect", "connect")


async def test_34_connect_timeout_is_504(start_proxy: StartProxy) -> None:
    """A server that does not accept: 504 after the connect timeout."""
    with ExitStack() as stack:
        listening = stack.enter_context(socket.socket())
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        address = listening.getsockname()
        # Linux drops the handshakes that no longer fit into the queue of unaccepted connections.
        for _ in range(3):
            sock = stack.enter_context(socket.socket())
            sock.setblocking(False)  # noqa: FBT003 -- the socket's own interface
            sock.connect_ex(address)
        proxy = await start_proxy(
            upstream=f"http://127.0.0.1:{address[1]}", timeouts={"connect": "50ms"}
        )
        client = await proxy.connect()
        client.send(post(b"{}"))

        assert_error(await client.answer(), 504, "timeout")
        await count_errors(proxy, "connect_timeout", "timeout")


@pytest.mark.parametrize(
    "sent", [b"", b"HTTP/1.1 200 OK\r\nContent-Le", b"HTTP/1.1 103 Hints\r\n\r\n"]
)
@pytest.mark.parametrize("ending", Ending)
async def test_26_an_end_before_the_head_is_502(
    proxy: RunningProxy, sent: bytes, ending: Ending
) -> None:
    """Without a whole response head the answer is 502."""
    client, server = await proxy.begin(post(b"{}"))
    server.send(sent)
    await server.flush()
    end(server, ending)

    assert_error(await client.answer(), 502, "bad_gateway")
    assert await client.ended() is Ending.FIN
    await count_errors(proxy, "closed" if ending is Ending.FIN else "reset", "truncated")


def end(peer: Peer, ending: Ending) -> None:
    """Close a connection in one of the two ways."""
    if ending is Ending.FIN:
        peer.close()
    else:
        peer.reset()


CUT = [
    # version of the client, head, end of the upstream, how the client's connection ends
    (b"1.1", SSE_HEAD, Ending.FIN, Ending.FIN),
    (b"1.1", SSE_HEAD, Ending.RST, Ending.FIN),
    (b"1.1", SIZED_HEAD, Ending.FIN, Ending.FIN),
    (b"1.1", SIZED_HEAD, Ending.RST, Ending.FIN),
    (b"1.1", OPEN_HEAD, Ending.RST, Ending.FIN),
    (b"1.0", SSE_HEAD, Ending.FIN, Ending.RST),
    (b"1.0", SSE_HEAD, Ending.RST, Ending.RST),
    (b"1.0", SIZED_HEAD, Ending.FIN, Ending.FIN),
    (b"1.0", OPEN_HEAD, Ending.RST, Ending.RST),
]


@pytest.mark.parametrize(("version", "head", "ending", "seen_as"), CUT)
async def test_26_a_cut_answer_looks_cut(
    proxy: RunningProxy, version: bytes, head: bytes, ending: Ending, seen_as: Ending
) -> None:
    """The client can tell that the answer is not whole, and nothing is appended to it."""
    client, server = await proxy.begin(post(b"{}", version=version))
    record = token()
    server.send(head, chunk(record) if head is SSE_HEAD else record)
    await client.until(rb"\n\n")
    end(server, ending)

    assert await client.ended() is seen_as
    answer = await client.answer()
    assert (answer.body, answer.complete) == (record, False)
    await count_errors(proxy, "closed" if ending is Ending.FIN else "reset", "truncated")


@pytest.mark.parametrize("piece", [b"5\r\nab", b"5", b"5\r\nabcde", b"0\r\n", b"0\r\nX-A: 1\r\n"])
async def test_26_a_cut_anywhere_in_a_chunk(proxy: RunningProxy, piece: bytes) -> None:
    """A cut in a chunk's size, data or end, or in the trailers, is a cut."""
    client, server = await proxy.begin(post(b"{}"))
    server.send(SSE_HEAD, chunk(token()), piece)
    await client.until(rb"\n\n")
    server.close()
    answer = await client.answer()

    assert not answer.complete
    assert await client.ended() is Ending.FIN
    assert await proxy.verdicts() == {("error", "truncated"): 1}


@pytest.mark.parametrize(
    "piece", [b"zz\r\n", b"5\r\nabcdefg\r\n", b"5\nabcde\n", b"-1\r\n", b"\r\n"]
)
async def test_26_a_malformed_chunk_is_a_cut(proxy: RunningProxy, piece: bytes) -> None:
    """Chunks that make no sense cut the answer."""
    client, server = await proxy.begin(post(b"{}"))
    server.send(SSE_HEAD, chunk(token()), piece)

    assert await client.ended() is Ending.FIN
    assert not (await client.answer()).complete
    await server.ended()
    await count_errors(proxy, "protocol", "truncated")


async def test_end_of_a_close_delimited_body(proxy: RunningProxy) -> None:
    """Closing is the end of a body without framing; the stream itself says whether it is whole."""
    client, server = await proxy.begin(post(b"{}"))
    server.send(OPEN_HEAD, token())
    server.close()

    assert (await client.answer()).complete
    samples = await proxy.samples()
    assert samples.total("goodput_upstream_errors_total") == 0
    assert samples.verdicts() == {("error", "truncated"): 1}


async def test_34_silence_is_504(start_proxy: StartProxy) -> None:
    """A server that does not answer: 504 after the idle timeout, and its connection is closed."""
    proxy = await start_proxy(timeouts={"idle": "50ms"})
    client, server = await proxy.begin(post(b"{}"))

    assert_error(await client.answer(), 504, "timeout")
    assert await client.ended() is Ending.FIN
    await server.ended()
    await count_errors(proxy, "timeout", "timeout")


@pytest.mark.parametrize(
    ("version", "head", "seen_as"),
    [
        (b"1.1", SSE_HEAD, Ending.FIN),
        (b"1.1", SIZED_HEAD, Ending.FIN),
        (b"1.1", OPEN_HEAD, Ending.FIN),
        (b"1.0", OPEN_HEAD, Ending.RST),
    ],
)
async def test_27_nothing_is_appended_after_a_silence(
    start_proxy: StartProxy, version: bytes, head: bytes, seen_as: Ending
) -> None:
    """A server that falls silent in its answer: the answer is cut, and nothing is appended."""
    proxy = await start_proxy(timeouts={"idle": "50ms"})
    client, server = await proxy.begin(post(b"{}", version=version))
    record = token()
    server.send(head, chunk(record) if head is SSE_HEAD else record)

    assert await client.ended() is seen_as
    answer = await client.answer()
    assert (answer.body, answer.complete) == (record, False)
    await server.ended()
    await count_errors(proxy, "timeout", "timeout")


@pytest.mark.parametrize("failure", ["fin", "rst", "malformed chunk", "second head"])
async def test_27_nothing_is_appended_after_the_head(proxy: RunningProxy, failure: str) -> None:
    """When the head has been passed on there are no bytes of the proxy's own, however it ends."""
    client, server = await proxy.begin(post(b"{}"))
    server.send(SSE_HEAD, chunk(token()))
    await client.until(rb"\n\n")
    if failure == "malformed chunk":
        server.send(b"zz\r\n")
    elif failure == "second head":
        server.send(b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n")
    else:
        end(server, Ending(failure))
    await client.ended()

    assert client.received == SSE_HEAD + chunk(token())
    assert await proxy.verdicts() == {("error", "truncated"): 1}


async def test_34_an_upload_that_is_not_taken_is_504(start_proxy: StartProxy) -> None:
    """A server that takes no more of a request is timed out as one that does not answer."""
    proxy = await start_proxy(timeouts={"idle": "150ms", "upload": "50ms"})
    client, server = await proxy.begin(
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    server.pause()
    pouring = asyncio.create_task(client.pour([chunk(b"x" * 60_000)] * 1000))

    assert_error(await client.answer(), 504, "timeout")
    client.reset()
    await pouring
    server.resume()
    await server.ended()
    await count_errors(proxy, "timeout", "timeout")


async def test_slow_server_is_not_idle(start_proxy: StartProxy) -> None:
    """The idle timeout counts from the last byte, not from the start of the answer."""
    proxy = await start_proxy(timeouts={"idle": "150ms"})
    client, server = await proxy.begin(post(b"{}"))
    server.send(SSE_HEAD)
    for _ in range(8):
        await asyncio.sleep(0.05)
        server.send(chunk(b"\n"))
    server.send(b"0\r\n\r\n")

    assert (await client.answer()).complete


async def test_upstream_gone_in_mid_upload(proxy: RunningProxy) -> None:
    """A server that breaks off during an upload is a server that did not answer."""
    client, server = await proxy.begin(
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    client.send(chunk(b"abc"))
    await server.until(rb"abc\r\n$")
    server.reset()

    assert_error(await client.answer(), 502, "bad_gateway")
    await count_errors(proxy, "reset", "truncated")


async def test_error_in_answer_to_head(proxy: RunningProxy, upstream: FakeUpstream) -> None:
    """An answer to HEAD has no body, not even one of the proxy's own."""
    await upstream.stop()
    client = await proxy.connect()
    client.send(b"HEAD /x HTTP/1.1\r\nHost: x\r\n\r\n")

    answer = await client.answer(to_head=True)
    assert answer.status == 502
    assert await client.ended() is Ending.FIN
    assert not client.received


async def test_failure_of_the_proxy_itself(
    proxy: RunningProxy, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A defect of the proxy is a 500 that tells nothing, and a log line without the request."""

    def fail(*_: object) -> None:
        raise RuntimeError("defect")

    monkeypatch.setattr(proxy.inner, "_begin", fail)
    client = await proxy.connect()
    client.send(post(b"secret"))
    answer = await client.answer()

    assert_error(answer, 500, "internal")
    assert b"defect" not in answer.body
    assert await client.ended() is Ending.FIN
    assert "a request failed inside the proxy" in caplog.text
    assert "secret" not in caplog.text


async def test_34_nothing_is_sent_twice(proxy: RunningProxy, upstream: FakeUpstream) -> None:
    """A request that may have been seen is never repeated, on whatever connection it went."""
    client, first = await proxy.begin(post(b"{}"))
    first.send(sized(b"ok"))
    await client.answer()
    for method in (b"POST", b"GET"):
        request = post(b"{}").replace(b"POST", method)
        known = [peer for peer in upstream.peers if peer.ending is None]
        client = await proxy.connect()
        first.take()
        client.send(request)
        server = known[0] if known else await upstream.accept()
        await server.request()
        server.reset()
        assert (await client.answer()).status == 502
    await proxy.idle()
    assert len(upstream.peers) == 2
