"""Bytes out equal bytes in, and the same is measured, however a stream is framed and cut.

The same with many more cuts, but without sockets, is in `tests/test_relay.py`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.streams import CASES, FRAMINGS, Case, cut, load_case, wire

if TYPE_CHECKING:
    from tests.integration.conftest import StartProxy
    from tests.integration.harness import RunningProxy
    from tests.samples import Samples

from tests.integration.harness import post


def expected_verdict(case: Case) -> dict[tuple[str, str], int]:
    """Return the verdict that the corpus demands, nothing for what is not judged."""
    known = case.expected
    if known["request"].get("max_tokens") == 0:
        return {}
    if known["error"]:
        return {("error", "stream_error"): 1}
    if known["terminated"] == "eof_without_terminator":
        return {("error", "truncated"): 1}
    tokens = known["token_events"] if known["output_tokens"] is None else known["output_tokens"]
    return {("good" if tokens > 1 else "good_partial", ""): 1}


def gain(before: Samples, after: Samples) -> tuple[dict[tuple[str, str], int], dict[str, float]]:
    """Return the verdicts and counts that came between two scrapes."""
    old = before.verdicts()
    verdicts = {key: n - old.get(key, 0) for key, n in after.verdicts().items()}
    names = (
        "goodput_output_tokens_total",
        "goodput_inter_chunk_latency_seconds_count",
        "goodput_time_to_first_token_seconds_count",
        "goodput_tap_errors_total",
    )
    counts = {name: after.total(name) - before.total(name) for name in names}
    return {key: n for key, n in verdicts.items() if n}, counts


async def play(proxy: RunningProxy, case: Case, framing: str, reads: list[bytes]) -> bytes:
    """Let a response through and return its body as the client got it."""
    body = json.dumps({"model": "m", **json.loads(case.request)}).encode()
    client, server = await proxy.begin(post(body, path=case.path.encode()))
    await server.request()
    for read in reads:
        server.send(read)
        await server.flush()
    if framing == "close":
        server.close()
    answer = await client.answer()
    assert answer.complete
    assert answer.header(b"Content-Type") == case.expected["content_type"].encode()
    client.close()
    server.close()
    return answer.body


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("name", CASES)
async def test_stream(start_proxy: StartProxy, name: str, framing: str) -> None:
    """Each stream of the corpus arrives as it was sent, and is judged as the corpus says."""
    proxy = await start_proxy(slo={"ttft": "60s", "itl": "60s"})
    case = load_case(name)
    before = await proxy.samples()
    assert await play(proxy, case, framing, [wire(case, framing)]) == case.body
    verdicts, counts = gain(before, await proxy.samples())

    assert verdicts == expected_verdict(case)
    assert counts["goodput_tap_errors_total"] == 0
    if verdicts:
        tokens = case.expected["output_tokens"] or case.expected["token_events"]
        assert counts["goodput_output_tokens_total"] == tokens


@given(data=st.data())
@settings(
    max_examples=15,
    deadline=None,
    # One proxy for all examples: each is compared with what was counted before it.
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
async def test_any_split(proxy: RunningProxy, data: Any) -> None:
    """Where the network cuts a stream changes neither its bytes nor what is counted."""
    case = load_case(data.draw(st.sampled_from(CASES)))
    framing = data.draw(st.sampled_from(FRAMINGS))
    whole = wire(case, framing)
    cuts = data.draw(st.lists(st.integers(1, len(whole) - 1), max_size=30))
    results = []
    for reads in ([whole], cut(whole, cuts)):
        before = await proxy.samples()
        assert await play(proxy, case, framing, reads) == case.body
        results.append(gain(before, await proxy.samples()))

    assert results[0] == results[1]
