"""Promises 42 and 43: other protocols, and requests that are sent before their turn."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.integration.harness import get_request, post, sized

if TYPE_CHECKING:
    from tests.integration.harness import RunningProxy


async def test_43_pipelined_requests_are_answered_in_order(proxy: RunningProxy) -> None:
    """Requests that are sent together are answered in order, on one connection to the upstream."""
    requests = get_request(b"/1") + post(b"{}", path=b"/2") + get_request(b"/3")
    client, server = await proxy.begin(requests)
    for i in (b"1", b"2", b"3"):
        head, _ = await server.request()
        assert head.split(b" ")[1] == b"/" + i
        assert not server.received
        server.send(sized(i))
    bodies = [(await client.answer()).body for _ in range(3)]

    assert bodies == [b"1", b"2", b"3"]
    assert len(proxy.upstream.peers) == 1
