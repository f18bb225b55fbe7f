"""Heads that nobody has thought of: what is valid passes unharmed, the rest does no harm.

Sockets are real on both sides. `make fuzz` tries many times as many as an ordinary run.
"""

from __future__ import annotations

import asyncio
import os
import re
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conformance.grammar import Message, requests, responses, spoiled
from tests.conformance.observed import LAST, AnsweringUpstream, Case
from tests.integration.fake_upstream import Ending, parse_trailed_chunks, split_headers
from tests.integration.harness import GET, HEAD, RunningProxy
from tests.streams import cut

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.integration.fake_upstream import Peer

# How many times as many examples as in an ordinary run.
FACTOR = int(os.environ.get("GOODPUT_FUZZ_FACTOR", "1"))
# What the proxy answers in the place of an upstream that is well.
REFUSALS = {400, 405, 414, 417, 431, 501, 505}
# A client that has sent something odd may be waited for; it waits for so long itself.
QUIET_S = 0.02
ANSWER = re.compile(rb"(?:^|\r\n\r\n|fine)HTTP/1\.1 (\d+) ")
START = re.compile(rb"[A-Z]+ (?:/[!-~]*|\*) HTTP/1\.1")
reads = st.lists(st.integers(1, 400), max_size=4)


def examples(number: int) -> settings:
    """Return how a test of this file is run."""
    return settings(
        max_examples=number * FACTOR,
        deadline=None,
        # One proxy for all examples; each leaves it idle.
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )


@pytest.fixture
async def upstream() -> AsyncIterator[AnsweringUpstream]:
    """Return an upstream that answers by itself."""
    upstream = AnsweringUpstream()
    await upstream.start()
    yield upstream
    await upstream.stop()


@pytest.fixture
async def proxy(upstream: AnsweringUpstream) -> AsyncIterator[RunningProxy]:
    """Return a proxy in front of it."""
    proxy = await RunningProxy.start(upstream.fake)
    yield proxy
    await proxy.stop()


async def send(client: Peer, data: bytes, positions: list[int]) -> None:
    """Send bytes in some pieces."""
    for piece in cut(data, [position for position in positions if position < len(data)]):
        client.send(piece)
        await client.flush()
        await asyncio.sleep(0)


async def leave(proxy: RunningProxy, client: Peer, caplog: pytest.LogCaptureFixture) -> None:
    """Close a client; nothing must be left of it, and nothing was wrong inside."""
    client.close()
    await proxy.idle()
    proxy.clients.clear()
    assert caplog.records == []


@given(messages=st.lists(requests(), min_size=1, max_size=3), positions=reads)
@examples(250)
async def test_valid_requests_pass(
    proxy: RunningProxy,
    upstream: AnsweringUpstream,
    caplog: pytest.LogCaptureFixture,
    messages: list[Message],
    positions: list[int],
) -> None:
    """Whatever they look like, however they are cut, and whatever was before them."""
    client = await proxy.connect()
    for message in messages:
        upstream.expect(Case(message.wire), client)
        await send(client, message.wire, positions)
        answer = await client.answer(to_head=message.wire.startswith(b"HEAD "))
        ((head, body),) = upstream.seen
        start, *lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
        framing = message.framing
        whole: bytes | None = body
        expected = list(message.passed)
        if framing.chunked:
            whole, _ = parse_trailed_chunks(body)
            expected.append((b"Transfer-Encoding", b"chunked"))
        elif framing.header is not None:
            expected.insert(message.place, framing.header)

        assert (start, split_headers(lines)) == (message.start, expected)
        assert whole == framing.body
        assert (answer.status, answer.header(b"Connection")) == (200, None)
    await leave(proxy, client, caplog)


@given(data=spoiled(requests()), positions=reads)
@examples(250)
async def test_a_spoiled_request_does_no_harm(
    proxy: RunningProxy,
    upstream: AnsweringUpstream,
    caplog: pytest.LogCaptureFixture,
    data: bytes,
    positions: list[int],
) -> None:
    """It is refused or passed on as what it has become; the upstream sees nothing but HTTP/1.1."""
    client = await proxy.connect()
    upstream.expect(Case(data), client)
    with suppress(ConnectionError, AssertionError):  # it may be answered before it was sent
        await send(client, data, positions)
    with suppress(TimeoutError):
        async with asyncio.timeout(QUIET_S):
            await client.ended()
    seen = len(upstream.seen)
    received = client.take()
    await leave(proxy, client, caplog)

    statuses = [int(status) for status in ANSWER.findall(received)]
    assert set(statuses) <= {100, 200, *REFUSALS}
    assert statuses.count(200) <= seen
    for head, rest in upstream.seen:
        start = (rest if head == b"cut" else head).partition(b"\r\n")[0]
        assert START.fullmatch(start), upstream.seen


@given(message=responses(), positions=reads)
@examples(300)
async def test_a_valid_response_passes(
    proxy: RunningProxy,
    upstream: AnsweringUpstream,
    caplog: pytest.LogCaptureFixture,
    message: Message,
    positions: list[int],
) -> None:
    """Whatever it looks like, and however it is cut."""
    client = await proxy.connect()
    ending = Ending.FIN if message.framing.header is None else None
    upstream.expect(Case(GET, message.wire, ending, positions), client)
    client.send(GET)
    answer = await client.answer()
    framing = (b"content-length", b"transfer-encoding")
    headers = [header for header in answer.headers if header[0].lower() not in framing]

    assert b"HTTP/1.1 %d %b" % (answer.status, answer.reason) == message.start
    assert headers == message.passed
    assert (answer.body, answer.complete) == (message.framing.body, True)
    assert tuple(answer.trailers) == message.framing.trailers
    await leave(proxy, client, caplog)


@given(data=spoiled(responses()), positions=reads, to_head=st.booleans())
@examples(300)
async def test_a_spoiled_response_does_no_harm(
    proxy: RunningProxy,
    upstream: AnsweringUpstream,
    caplog: pytest.LogCaptureFixture,
    data: bytes,
    positions: list[int],
    *,
    to_head: bool,
) -> None:
    """One answer comes of it, whole, cut or 502, and none of it is in the answer that follows."""
    client = await proxy.connect()
    request = HEAD if to_head else GET
    upstream.expect(Case(request, data, Ending.FIN, positions), client)
    client.send(request)
    answer = await client.answer(to_head=to_head)
    assert 200 <= answer.status <= 999
    if answer.complete and answer.header(b"Connection") != b"close":
        client.send(LAST)
        following = await client.answer()
        assert (following.status, following.body) == (200, b"fine")
    else:
        assert await client.ended()
    assert not client.received
    await leave(proxy, client, caplog)
