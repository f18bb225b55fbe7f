"""Promise 45: however requests end, each has exactly one verdict, and it is the right one."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

from tests.integration.harness import (
    DONE,
    FINISH,
    LAST_CHUNK,
    SSE_HEAD,
    chunk,
    post,
    sized,
    token,
)

if TYPE_CHECKING:
    from tests.integration.conftest import StartProxy
    from tests.integration.fake_upstream import FakeUpstream, Peer
    from tests.integration.harness import RunningProxy

PATIENT = {"slo": {"ttft": "60s", "itl": "60s"}}
ERROR_RECORD = b'data: {"error":{"message":"no","type":"server_error","code":500}}\n\n'
# How a request ends, and what it is then counted as.
ENDS = {
    "whole": ("good", ""),
    "one token": ("good_partial", ""),
    "no token": ("error", "empty"),
    "error record": ("error", "stream_error"),
    "no terminator": ("error", "truncated"),
    "cut": ("error", "truncated"),
    "reset": ("error", "truncated"),
    "503": ("error", "http_5xx"),
    "429": ("error", "http_429"),
    "404": ("client_error", "http_4xx"),
    "client leaves": ("cancelled", "client"),
    "client leaves early": ("cancelled", "client"),
    "client leaves late": ("good", ""),
    "client sends too much": ("client_error", "http_4xx"),
    "client stalls": ("client_error", "http_4xx"),
}
MAX_BODY_BYTES = 100
EACH = 8


async def run(proxy: RunningProxy, end: str) -> None:
    """Run one request to one of the ends; it carries the end's name to its upstream."""
    client = await proxy.connect()
    body = b"x" * (MAX_BODY_BYTES + 1) if end == "client sends too much" else b"{}"
    request = post(body, b"X-End: " + end.encode())
    client.send(request[:-1] if end == "client stalls" else request)
    if end == "client leaves early":
        await asyncio.sleep(0.01)
        client.close()
    elif end == "client leaves":
        await client.until(rb"content")
        client.reset()
    elif end == "client leaves late":
        await client.until(rb"DONE")
        client.close()
    else:
        await client.answer()


STOP = chunk(FINISH + DONE) + LAST_CHUNK
FIRST = SSE_HEAD + chunk(token())
ANSWERS = {
    "whole": FIRST + chunk(token()) + STOP,
    "one token": FIRST + STOP,
    "no token": SSE_HEAD + STOP,
    "error record": FIRST + chunk(ERROR_RECORD + DONE) + LAST_CHUNK,
    "no terminator": FIRST + LAST_CHUNK,
    "cut": FIRST,
    "reset": FIRST,
    "503": sized(b"no", b"503 Busy"),
    "429": sized(b"no", b"429 Slow Down"),
    "404": sized(b"no", b"404 Not Found"),
    "client leaves": FIRST,
    "client leaves early": b"",
    "client leaves late": FIRST + chunk(token()) + chunk(FINISH + DONE),
}


async def serve(server: Peer) -> None:
    """Play the upstream's part of the ends, one request after the other."""
    while server.ending is None:
        try:
            head, _ = await server.request()
        except AssertionError:  # closed instead
            return
        end = head.partition(b"X-End: ")[2].partition(b"\r\n")[0].decode()
        server.send(ANSWERS[end])
        if end == "cut":
            server.close()
        elif end == "reset":
            await server.flush()
            server.reset()


async def test_45_each_request_has_one_verdict(
    start_proxy: StartProxy, upstream: FakeUpstream
) -> None:
    """The counts are those of the requests that were made, kind by kind."""
    proxy = await start_proxy(
        **PATIENT, limits={"body_bytes": MAX_BODY_BYTES}, timeouts={"upload": "500ms"}
    )

    async def accept() -> None:
        async with asyncio.TaskGroup() as group:
            while True:
                group.create_task(serve(await upstream.accept()))

    accepting = asyncio.create_task(accept())
    ends = list(ENDS) * EACH
    random.Random(7).shuffle(ends)
    await asyncio.gather(*(run(proxy, end) for end in ends))
    samples = await proxy.samples()
    accepting.cancel()

    expected: dict[tuple[str, str], int] = {}
    for verdict in ENDS.values():
        expected[verdict] = expected.get(verdict, 0) + EACH
    assert samples.verdicts() == expected
    assert samples.total("goodput_requests_in_flight") == 0
    compliant = samples.total("goodput_slo_compliant_requests_total")
    assert compliant == expected["good", ""] + expected["good_partial", ""]
    leaving = [end for end in ends if end.startswith("client leaves")]
    assert samples.total("goodput_client_cancels_total") == len(leaving)
