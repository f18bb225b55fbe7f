"""A worker's ledger and the supervisor's books: nothing is lost or added between them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from goodput_proxy import remote
from goodput_proxy.books import Books
from goodput_proxy.channel import Channel
from goodput_proxy.classify import Passthrough
from goodput_proxy.edges import OVERHEAD_NS
from goodput_proxy.faults import ClientFault, MeterFault, SloHeaderFault, UpstreamFault
from goodput_proxy.headcount import Headcount
from goodput_proxy.messages import Report, decode
from goodput_proxy.metrics import Metrics
from goodput_proxy.remote import RemoteLedger
from goodput_proxy.stream import Api
from tests.fakes import FakeTransport
from tests.live.traffic import CHAT, DEFAULT, POLICY, ended, failed, slow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from goodput_proxy.judged import JudgedRequest
    from goodput_proxy.ledger import Ledger

TRACE = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
HEADERS = [(b"Host", b"a"), (b"TraceParent", TRACE), (b"Authorization", b"Bearer secret")]


class Pair:
    """A worker's ledger, and a supervisor's metrics that are told by it."""

    def __init__(self) -> None:
        self.metrics = Metrics(POLICY, 3)
        self.books = Books(self.metrics)
        self.reports: list[Report] = []
        self.bytes = b""
        self.calls: list[Callable[[], None]] = []
        self.transport = FakeTransport()
        self.channel = Channel(lambda _: None)
        self.channel.connection_made(self.transport)
        self.headcount = Headcount.create(2)
        self.ledger = RemoteLedger(self.channel, self.headcount, 1, self.calls.append)
        self.ledger.icl_edges_ns = self.metrics.icl_edges_ns

    def turn(self) -> None:
        """Let the worker's event loop turn, and the supervisor read."""
        calls, self.calls = self.calls[:], []
        for call in calls:
            call()
        self.bytes = b"".join(self.transport.take())
        Channel(self._receive).data_received(self.bytes)

    def _receive(self, message: bytes) -> None:
        report = decode(message)
        assert isinstance(report, Report)
        self.reports.append(report)
        self.books.enter(1, report)


@pytest.fixture
def pair() -> Iterator[Pair]:
    """Return a worker's ledger and what it reports to."""
    pair = Pair()
    yield pair
    pair.headcount.close()


def tell(ledger: Ledger) -> None:
    """Tell a ledger of one of everything."""
    edges_ns = ledger.icl_edges_ns
    for model in ("a", "b", "a", "c"):
        ledger.admit(Api.CHAT, model, CHAT, 3)
        ledger.observe(ended(CHAT, model, in_flight=3, icl_edges_ns=edges_ns, headers=HEADERS))
    ledger.observe(replace(slow(), slo=DEFAULT))
    ledger.observe(failed())
    broken = ended(icl_edges_ns=edges_ns)
    ledger.observe(
        replace(broken, record=replace(broken.record, unclassified={MeterFault.BAD_JSON: 2}))
    )
    for kind in Passthrough:
        ledger.passthrough(kind)
    for upstream in UpstreamFault:
        ledger.upstream_error(upstream)
    for client in ClientFault:
        ledger.client_fault(client)
    for meter in MeterFault:
        ledger.tap_error(meter)
    ledger.slo_header_errors(SloHeaderFault)
    for edge_ns in (*OVERHEAD_NS, OVERHEAD_NS[-1] + 1):
        ledger.overhead("request", edge_ns)
        ledger.overhead("token", edge_ns, 5)
        ledger.overhead("upload", edge_ns + 1)
        ledger.loop_lag(edge_ns)


def samples(metrics: Metrics) -> dict[Any, Any]:
    """Return all values that requests make, with their exemplars."""
    return {
        (s.name, frozenset(s.labels.items())): (s.value, s.exemplar and s.exemplar.labels)
        for family in metrics.registry.collect()
        for s in family.samples
        if s.name.startswith("goodput_")
        and not s.name.startswith(("goodput_worker", "goodput_config_last"))
    }


def test_the_metrics_are_those_of_one_process(pair: Pair) -> None:
    """What is told from afar counts as if it had been told here, to the last bucket."""
    alone = Metrics(POLICY, 3)
    tell(alone)
    tell(pair.ledger)
    pair.turn()

    assert samples(pair.metrics) == samples(alone)


def test_one_turn_is_one_message(pair: Pair) -> None:
    """However much happens in a turn of the loop; then nothing until something happens."""
    tell(pair.ledger)
    pair.turn()
    pair.turn()
    assert len(pair.reports) == 1
    assert not pair.calls


def test_times_alone_wait_for_something_else(pair: Pair) -> None:
    """A token's sample causes no message; the probe of the loop takes it along."""
    pair.ledger.overhead("token", 1)
    assert not pair.calls
    pair.ledger.loop_lag(1)
    pair.turn()
    assert [timing.stage for timing in pair.reports[0].timings] == ["token", "lag"]


def test_observers_are_told_what_they_may_know(pair: Pair) -> None:
    """All of a judged request but the headers that nobody reads; one observer harms no other."""
    told: list[JudgedRequest] = []

    def fail(judged: JudgedRequest) -> None:
        raise ValueError(judged)

    pair.books.observers = (fail, told.append)
    judged = ended(headers=HEADERS, in_flight=7)
    pair.ledger.observe(judged)
    pair.turn()

    assert told == [
        replace(
            judged,
            slo=replace_match(judged),
            headers=[(b"traceparent", TRACE)],
        )
    ]
    assert b"secret" not in pair.bytes
    count = pair.metrics.registry.get_sample_value
    assert count("goodput_tap_errors_total", {"reason": "internal"}) == 1


def replace_match(judged: JudgedRequest) -> Any:
    """Return a request's class, which has no conditions when it comes from afar."""
    return type(judged.slo)(judged.slo.name, judged.slo.limits, judged.slo.objective)


def test_in_flight_is_everybodys(pair: Pair) -> None:
    """A request is counted among those of other workers, and out again."""
    pair.headcount.add(0, 4)
    assert pair.ledger.begin() == 5
    assert pair.ledger.in_flight == 5
    pair.ledger.end()
    assert pair.ledger.in_flight == 4


def test_a_supervisor_that_does_not_read(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """So many requests are held, those beyond are counted as lost, and counters lose nothing."""
    monkeypatch.setattr(remote, "_MAX_HELD", 3)
    pair.channel.pause_writing()
    for _ in range(5):
        pair.ledger.observe(ended())
        pair.ledger.passthrough(Passthrough.OTHER)
    pair.ledger.report()
    assert not pair.calls
    assert not pair.transport.writes
    pair.channel.resume_writing()
    pair.ledger.report()
    pair.turn()

    count = pair.metrics.registry.get_sample_value
    assert count("goodput_worker_lost_requests_total") == 2
    assert count("goodput_passthrough_requests_total", {"kind": "other"}) == 5
    assert sum(len(report.ended) for report in pair.reports) == 3


def test_names_of_models_are_not_hoarded(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is told once, and again only when there were very many others."""
    monkeypatch.setattr(remote, "_MAX_ADMITTED", 2)
    for model in ("a", "a", "b", "c", "a"):
        pair.ledger.admit(Api.CHAT, model, CHAT, 1)
    pair.turn()
    assert [told.model for told in pair.reports[0].admitted] == ["a", "b", "c", "a"]


def test_processor_time_adds_up(pair: Pair) -> None:
    """What a worker has used is told in parts, none of them twice."""
    for _ in range(3):
        pair.ledger.loop_lag(1)
        pair.turn()
    used_ns = sum(report.cpu_ns for report in pair.reports)
    assert all(report.cpu_ns >= 0 for report in pair.reports)
    count = pair.metrics.registry.get_sample_value
    assert count("goodput_worker_cpu_seconds_total", {"worker": "1"}) == pytest.approx(
        used_ns / 10**9
    )


def test_certificates_are_the_supervisors(pair: Pair) -> None:
    """It reads the same files; told by each worker, they would count more than once."""
    pair.ledger.tls_certificate_ends("listen_tls", 1)
    pair.ledger.tls_reload("listen_tls", succeeded=True)
    assert not pair.calls


async def test_reports_leave_in_the_turn_after() -> None:
    """With a real loop: told in one turn, written at its end."""
    pair = Pair()
    ledger = RemoteLedger(pair.channel, pair.headcount, 0, asyncio.get_running_loop().call_soon)
    ledger.observe(ended())
    assert not pair.transport.writes
    await asyncio.sleep(0)
    assert len(pair.transport.writes) == 1
    pair.headcount.close()
