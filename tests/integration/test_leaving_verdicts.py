"""What a client that leaves is counted as: in every phase, for every limit, from every source.

`cancelled` as long as no limit was missed, `slow` once one was, for leaving must not hide that; and
whoever has seen the end of the stream has been served.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

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
    from tests.integration.harness import RunningProxy
    from tests.samples import Samples

ROLE = b'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}\n\n'
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2}}\n\n'


@dataclass(frozen=True)
class Phase:
    """How far a stream is when its client leaves, and what is then known of it."""

    pieces: tuple[bytes, ...]  # the client has each before the next is sent
    label: str  # empty: nothing was left to leave
    verdict: tuple[str, str]  # as long as no limit is missed
    missable: frozenset[str]  # limits of which it is known that they are missed


CANCELLED, GOOD = ("cancelled", "client"), ("good", "")
TOKENS = (SSE_HEAD, chunk(ROLE), chunk(token("a")), chunk(token("b")))
WAITING, RUNNING = frozenset(("ttft", "e2e")), frozenset(("ttft", "stall", "e2e"))
ALL = frozenset(("ttft", "stall", "itl", "e2e"))
PHASES = {
    "before the head": Phase((), "before_headers", CANCELLED, WAITING),
    "before the first record": Phase(TOKENS[:1], "before_first_token", CANCELLED, WAITING),
    "before the first token": Phase(TOKENS[:2], "before_first_token", CANCELLED, WAITING),
    "behind the first token": Phase(TOKENS[:3], "between_tokens", CANCELLED, RUNNING),
    "behind the last token": Phase(TOKENS, "between_tokens", CANCELLED, ALL),
    "before the terminator": Phase((*TOKENS, chunk(FINISH)), "after_last_token", GOOD, ALL),
    "behind the usage": Phase(
        (*TOKENS, chunk(FINISH), chunk(USAGE)), "after_last_token", GOOD, ALL
    ),
    "behind the terminator": Phase(
        (*TOKENS, chunk(FINISH), chunk(DONE)), "after_last_token", GOOD, ALL
    ),
    "behind the end": Phase((*TOKENS, chunk(FINISH), chunk(DONE) + LAST_CHUNK), "", GOOD, ALL),
}
# Everything takes longer than a nanosecond, and nothing here takes a minute.
PATIENT = {"ttft": "60s", "stall": "60s", "itl": "60s", "e2e": "60s"}
MISSED = "1ns"
BODY = b'{"model":"m","stream":true}'
EACH_PHASE = pytest.mark.parametrize("name", PHASES)


async def leave(proxy: RunningProxy, phase: Phase, *headers: bytes, body: bytes = BODY) -> Samples:
    """Leave in a phase; return the metrics when that has been noticed and counted."""
    client, server = await proxy.begin(post(body, *headers))
    size = client.size
    for piece in phase.pieces:
        server.send(piece)
        size += len(piece)
        await client.until_size(size)
    client.close()
    await proxy.idle()
    return await proxy.samples()


def check(samples: Samples, phase: Phase, slo: str, missed: str = "") -> None:
    """Compare what was counted, all of it, with what has to be."""
    expected = ("slow", missed) if missed else phase.verdict
    assert samples.verdicts() == samples.verdicts(slo=slo) == {expected: 1}
    assert samples.total("goodput_slo_violations_total") == bool(missed)
    assert samples.total("goodput_slo_violations_total", slo=slo, dimension=missed) == bool(missed)
    assert samples.total("goodput_client_cancels_total") == bool(phase.label)
    assert samples.total("goodput_client_cancels_total", slo=slo, phase=phase.label) == bool(
        phase.label
    )
    assert samples.total("goodput_slo_compliant_requests_total") == (expected == GOOD)
    assert samples.total("goodput_upstream_errors_total") == 0
    assert samples.total("goodput_requests_in_flight") == 0


@EACH_PHASE
@pytest.mark.parametrize("missed", ["", *PATIENT])
@pytest.mark.parametrize("slo", ["default", "gold"])
async def test_under_the_limits_of_a_class(
    start_proxy: StartProxy, name: str, missed: str, slo: str
) -> None:
    """A limit is missed as soon as that is certain, and not while it can still be met."""
    phase = PHASES[name]
    limits: dict[str, Any] = {**PATIENT, missed: MISSED} if missed else PATIENT
    if slo == "default":
        proxy = await start_proxy(slo=limits)
    else:
        gold = {"name": "gold", "match": {"headers": {"x-tenant": "gold"}}, **limits}
        proxy = await start_proxy(slo_classes=[gold], slo=dict.fromkeys(PATIENT, MISSED))
    samples = await leave(proxy, phase, b"X-Tenant: gold")

    check(samples, phase, slo, missed if missed in phase.missable else "")


@EACH_PHASE
@pytest.mark.parametrize("header", [b"x-slo-ttft-ms", b"x-slo-tpot-ms"])
async def test_under_limits_of_its_own(start_proxy: StartProxy, name: str, header: bytes) -> None:
    """What the request has chosen is missed where its class's limit would be met."""
    phase = PHASES[name]
    headers = {"limits": True, "smallest": MISSED}
    gold = {"name": "gold", "match": {"model": "m"}, **PATIENT}
    proxy = await start_proxy(slo_headers=headers, slo_classes=[gold])
    samples = await leave(proxy, phase, header + b": 0.000001")
    missed = {b"x-slo-ttft-ms": "ttft", b"x-slo-tpot-ms": "itl"}[header]

    check(samples, phase, "gold", missed if missed in phase.missable else "")


@EACH_PHASE
async def test_under_more_patient_limits_of_its_own(start_proxy: StartProxy, name: str) -> None:
    """What the request has chosen is met where its class's limit would be missed."""
    impatient = {**PATIENT, "ttft": MISSED, "itl": MISSED}
    proxy = await start_proxy(slo_headers={"limits": True}, slo=impatient)
    own = (b"X-SLO-TTFT-ms: 60000", b"X-SLO-TPOT-ms: 60000")
    samples = await leave(proxy, PHASES[name], *own)

    check(samples, PHASES[name], "default")


@EACH_PHASE
async def test_under_a_class_that_it_names(start_proxy: StartProxy, name: str) -> None:
    """A class that the request names is the one whose limits are missed, and whose label is set."""
    gold = {"name": "gold", "match": {"model": "other"}, **PATIENT, "e2e": MISSED}
    proxy = await start_proxy(slo_headers={"classes": True}, slo_classes=[gold], slo=PATIENT)
    samples = await leave(proxy, PHASES[name], b"X-SLO-Class: gold")

    check(samples, PHASES[name], "gold", "e2e")


@pytest.mark.parametrize("missed", ["", *PATIENT])
async def test_before_an_answer_in_one_piece(start_proxy: StartProxy, missed: str) -> None:
    """Who has asked for no stream waits for no first token: only E2E can be missed."""
    limits: dict[str, Any] = {**PATIENT, missed: MISSED} if missed else PATIENT
    proxy = await start_proxy(slo=limits)
    phase = PHASES["before the head"]
    samples = await leave(proxy, phase, body=b"{}")

    check(samples, phase, "default", "e2e" if missed == "e2e" else "")


async def test_within_an_answer_in_one_piece(start_proxy: StartProxy) -> None:
    """Its tokens are not known: it is left before the first of them."""
    proxy = await start_proxy(slo=PATIENT)
    answer = sized(b"{" + b" " * 100, b"200 OK", b"Content-Type: application/json")[:-50]
    phase = Phase((answer,), "before_first_token", CANCELLED, frozenset())

    check(await leave(proxy, phase, body=b"{}"), phase, "default")
