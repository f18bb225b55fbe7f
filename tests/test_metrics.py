"""Metrics: what is counted, under which labels, and what a scraper reads."""

from __future__ import annotations

import subprocess
import threading
from collections import Counter
from itertools import product
from time import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families as parse_text

from goodput_proxy import __version__
from goodput_proxy.classify import Passthrough
from goodput_proxy.faults import ClientFault, MeterFault, SloHeaderFault, UpstreamFault
from goodput_proxy.judged import JudgedRequest
from goodput_proxy.metrics import Metrics
from goodput_proxy.policy import Policy, SloClass
from goodput_proxy.record import CancelPhase, End, Gaps, Outcome, RequestRecord
from goodput_proxy.slo import Dimension, Judgement, Limits, Verdict, judge
from goodput_proxy.stream import Api
from goodput_proxy.stream.events import TokenEvent, TokenSource
from goodput_proxy.timeline import Timeline
from tests.conftest import require_program
from tests.samples import Samples

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client import Metric

Key = tuple[str, frozenset[tuple[str, str]]]

MS, S = 10**6, 10**9
OPENMETRICS = "application/openmetrics-text; version=1.0.0"
LIMITS = Limits(ttft_ns=500 * MS, itl_ns=100 * MS)
DEFAULT = SloClass("default", LIMITS, 0.95)


def make_metrics(*classes: SloClass, pinned: tuple[str, ...] = (), max_models: int = 32) -> Metrics:
    """Return metrics of a policy; without classes, of `default` alone."""
    return Metrics(Policy(classes or (DEFAULT,), pinned), max_models)


GOOD = RequestRecord(
    Outcome.OK, elapsed_ns=S, ttft_ns=MS, itl_ns=MS, stall_ns=MS, e2e_ns=S, output_tokens=2
)


def ok(**values: Any) -> RequestRecord:
    """Return the record of a request that ended well and met every limit, apart from `values`."""
    return replace(GOOD, **values)


def observe(
    metrics: Metrics,
    record: RequestRecord,
    model: str = "m",
    slo: SloClass = DEFAULT,
    api: Api = Api.CHAT,
    **known: Any,
) -> Judgement:
    """Judge and count a request as the tap does."""
    if not record.gaps.counts:
        edges_ns = metrics.icl_edges_ns
        gaps = Gaps((0,) * (len(edges_ns) + 1), edges_ns=edges_ns)
        record = replace(record, gaps=gaps)
    if record.outcome is Outcome.OK:
        metrics.admit(api, model, slo)
    judgement = judge(record, slo.limits)
    metrics.observe(JudgedRequest(api, model, slo, record, judgement, **known))
    return judgement


def parse(metrics: Metrics, accept: str = "") -> list[Metric]:
    """Return the metric families as a scraper reads them."""
    body, content_type = metrics.render(accept)
    if content_type.startswith("application/openmetrics-text"):
        return list(parse_openmetrics(body.decode()))  # type: ignore[no-untyped-call]
    return list(parse_text(body.decode()))


def read(metrics: Metrics, accept: str = "") -> dict[Key, float]:
    """Return every sample as a scraper reads it."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in parse(metrics, accept)
        for sample in family.samples
    }


def scrape(metrics: Metrics) -> Samples:
    """Return what a scraper reads that does not ask for OpenMetrics."""
    return Samples(metrics.render("")[0].decode())


def total(metrics: Metrics, name: str, **labels: str) -> float:
    """Return the sum of a metric's samples with these labels, as PromQL's `sum` does."""
    return scrape(metrics).total(name, **labels)


def label_values(metrics: Metrics, name: str, label: str) -> set[str]:
    """Return the values that a label has on a metric."""
    return {dict(have)[label] for have in scrape(metrics).of(name)}


# -- verdicts

some_ns = st.one_of(st.none(), st.sampled_from([0, 100 * MS, 100 * MS + 1, 500 * MS, 501 * MS]))
records = st.builds(
    RequestRecord,
    outcome=st.sampled_from(Outcome),
    elapsed_ns=st.sampled_from([0, 499 * MS, 600 * MS, 90 * S]),
    ttft_ns=some_ns,
    itl_ns=some_ns,
    stall_ns=some_ns,
    e2e_ns=some_ns,
    output_tokens=st.integers(0, 9),
    input_tokens=st.one_of(st.none(), st.integers(0, 9)),
    token_source=st.sampled_from(TokenSource),
    cancel_phase=st.one_of(st.none(), st.sampled_from(CancelPhase)),
)


@given(st.lists(records, max_size=12))
@settings(deadline=None, max_examples=50)
def test_each_request_has_exactly_one_verdict(requests: list[RequestRecord]) -> None:
    """The sum over all verdicts is the number of requests, whatever they were like."""
    tight = SloClass("default", Limits(*[100 * MS] * 4), 0.95)
    metrics = make_metrics(tight)
    expected = Counter(observe(metrics, record, slo=tight).verdict for record in requests)
    found: Counter[str] = Counter()
    samples = scrape(metrics)
    for labels, value in samples.of("goodput_requests_total").items():
        found[dict(labels)["verdict"]] += int(value)
    compliant = samples.total("goodput_slo_compliant_requests_total")
    assert +found == expected
    assert found.total() == len(requests)
    assert compliant == expected[Verdict.GOOD] + expected[Verdict.GOOD_PARTIAL]


def test_every_cause_has_a_series_from_the_start() -> None:
    """No verdict that can be given is born at 1: its series was there at zero before."""
    limits = Limits(*[100 * MS] * 4)
    tight = SloClass("default", limits, 0.95)
    metrics = make_metrics(tight, pinned=("m",))
    before = read(metrics)
    for outcome, slow in product(Outcome, (None, *Dimension)):
        values = {f"{d}_ns": 101 * MS if d is slow else MS for d in Dimension}
        observe(metrics, RequestRecord(outcome, elapsed_ns=MS, **values), slo=tight)  # type: ignore[arg-type]
    counted = {key for key in read(metrics) if key[0] == "goodput_requests_total"}
    assert {key: before[key] for key in counted} == dict.fromkeys(counted, 0)


def test_labels_say_what_the_judgement_says() -> None:
    """API, model, class, verdict and cause of a request are the labels under which it counts."""
    metrics = make_metrics()
    observe(metrics, ok(ttft_ns=501 * MS), "llama", api=Api.COMPLETIONS)
    where = {"api": "completions", "model": "llama", "slo": "default"}
    key = frozenset({**where, "verdict": "slow", "cause": "ttft"}.items())
    assert read(metrics)["goodput_requests_total", key] == 1


def test_violations_overlap() -> None:
    """A request that missed two limits counts once as slow and once under each of them."""
    metrics = make_metrics()
    observe(metrics, ok(ttft_ns=501 * MS, itl_ns=101 * MS))
    observe(metrics, ok(itl_ns=101 * MS))
    assert total(metrics, "goodput_requests_total", verdict="slow") == 2
    assert total(metrics, "goodput_requests_total", cause="ttft") == 1
    assert total(metrics, "goodput_slo_violations_total", dimension="ttft") == 1
    assert total(metrics, "goodput_slo_violations_total", dimension="itl") == 2


def test_tokens_count_under_the_verdict_of_their_request() -> None:
    """Tokens of good requests and of others are told apart; unknown counts add nothing."""
    metrics = make_metrics()
    observe(metrics, ok(output_tokens=10, input_tokens=7))
    observe(metrics, ok(output_tokens=4, input_tokens=3, ttft_ns=S))
    observe(metrics, RequestRecord(Outcome.HTTP_5XX, elapsed_ns=1))
    by_verdict = {
        verdict: (
            total(metrics, "goodput_output_tokens_total", verdict=verdict),
            total(metrics, "goodput_input_tokens_total", verdict=verdict),
        )
        for verdict in Verdict
    }
    nothing = dict.fromkeys(Verdict, (0, 0))
    assert by_verdict == {**nothing, Verdict.GOOD: (10, 7), Verdict.SLOW: (4, 3)}


def test_where_token_counts_come_from_is_counted() -> None:
    """Each request with tokens says once how good its count is."""
    metrics = make_metrics()
    for source in (TokenSource.USAGE, TokenSource.USAGE, TokenSource.EVENTS):
        record = RequestRecord(Outcome.OK, elapsed_ns=1, output_tokens=5, token_source=source)
        observe(metrics, record)
    observe(metrics, RequestRecord(Outcome.HTTP_5XX, elapsed_ns=1))
    found = {
        source.value: total(metrics, "goodput_token_count_source_total", source=source)
        for source in TokenSource
    }
    assert {source: n for source, n in found.items() if n} == {"usage": 2, "events": 1}
    assert set(found) == set(TokenSource)


@pytest.mark.parametrize("phase", CancelPhase)
def test_clients_that_left_count_by_phase(phase: CancelPhase) -> None:
    """A client that left counts by phase, whether the request was cancelled, slow or good."""
    metrics = make_metrics()
    for elapsed_ns, outcome in ((1, Outcome.CLIENT), (S, Outcome.CLIENT), (1, Outcome.OK)):
        record = RequestRecord(
            outcome, elapsed_ns=elapsed_ns, awaits_token=True, cancel_phase=phase
        )
        observe(metrics, record)
    assert total(metrics, "goodput_client_cancels_total") == 3
    assert total(metrics, "goodput_client_cancels_total", phase=phase) == 3
    assert total(metrics, "goodput_requests_total", verdict="cancelled") == 1


# -- series at zero


def expected_children(model: str, slo: str, api: str = "chat") -> Iterator[Key]:
    """Return the series that a known model and class must have before its first request."""
    where = {"model": model, "slo": slo}

    def key(name: str, **labels: str) -> Key:
        return name, frozenset({**where, **labels}.items())

    yield key("goodput_slo_compliant_requests_total", api=api)
    for verdict in ("good", "good_partial"):
        yield key("goodput_requests_total", api=api, verdict=verdict, cause="")
    causes = {
        "slow": "ttft stall itl e2e",
        "error": "http_5xx http_429 http_408 stream_error truncated empty connect timeout",
        "client_error": "http_4xx",
        "cancelled": "client",
    }
    for verdict, names in causes.items():
        for cause in names.split():
            yield key("goodput_requests_total", api=api, verdict=verdict, cause=cause)
    for dimension in Dimension:
        yield key("goodput_slo_violations_total", dimension=dimension)
    for verdict in Verdict:
        yield key("goodput_output_tokens_total", verdict=verdict)
        yield key("goodput_input_tokens_total", verdict=verdict)
    for phase in CancelPhase:
        yield key("goodput_client_cancels_total", phase=phase)
    for name in ("time_to_first_token", "inter_token_latency", "inter_chunk_latency", "stall"):
        yield key(f"goodput_{name}_seconds_count")
    yield key("goodput_request_duration_seconds_count")


def test_known_classes_and_models_exist_at_zero_from_the_start() -> None:
    """`rate` misses the first increment of a series that is born at 1: none is."""
    gold = SloClass("gold", Limits(), 0.99)
    samples = read(make_metrics(gold, DEFAULT, pinned=("a", "b")))
    for model, slo in product(("a", "b", "unknown"), ("gold", "default")):
        for key in expected_children(model, slo):
            assert samples[key] == 0
    samples = read(make_metrics())
    for key in expected_children("unknown", "default"):
        assert samples[key] == 0


def test_an_admitted_model_exists_at_zero_before_its_first_request_ends() -> None:
    """When a server begins to answer for a new model, all of its series appear at zero."""
    metrics = make_metrics()
    metrics.admit(Api.COMPLETIONS, "new", DEFAULT)
    samples = read(metrics)
    for key in expected_children("new", "default", "completions"):
        assert samples[key] == 0
    assert total(metrics, "goodput_requests_total") == 0


@pytest.mark.parametrize(
    ("name", "label", "values"),
    [
        ("goodput_token_count_source_total", "source", set(TokenSource)),
        ("goodput_passthrough_requests_total", "kind", set(Passthrough)),
        ("goodput_client_faults_total", "reason", set(ClientFault)),
    ],
)
def test_closed_sets_exist_at_zero(name: str, label: str, values: set[str]) -> None:
    """A label whose values are known has all of them from the start."""
    metrics = make_metrics()
    assert label_values(metrics, name, label) == values
    assert total(metrics, name) == 0


# -- the label model


def test_models_are_bounded() -> None:
    """Of 33 models that are new, the label keeps at most 32 values and calls the rest `other`."""
    metrics = make_metrics(max_models=32)
    names = [f"model-{i}" for i in range(33)]
    for name in names * 2:
        observe(metrics, ok(), name)
    models = label_values(metrics, "goodput_requests_total", "model")
    assert len(models - {"other"}) == 32
    assert models == {"unknown", "other", *names[:31]}
    assert total(metrics, "goodput_requests_total", model="other") == 4
    assert total(metrics, "goodput_requests_total") == 66


def test_pinned_models_are_kept() -> None:
    """A model that a class names has its place, however many others came before it."""
    metrics = make_metrics(pinned=("p", "q"), max_models=4)
    for name in ("a", "b", "c", "q", "p", "a"):
        observe(metrics, ok(), name)
    models = label_values(metrics, "goodput_requests_total", "model")
    assert models == {"unknown", "p", "q", "a", "other"}
    assert total(metrics, "goodput_requests_total", model="q") == 1
    assert total(metrics, "goodput_requests_total", model="a") == 2


def test_more_pinned_models_than_places() -> None:
    """The bound is on strangers: pinned models are kept even when they exceed it."""
    metrics = make_metrics(pinned=("p", "q", "r"), max_models=1)
    for name in ("p", "q", "r", "a"):
        observe(metrics, ok(), name)
    models = label_values(metrics, "goodput_requests_total", "model")
    assert models == {"unknown", "p", "q", "r", "other"}


@pytest.mark.parametrize("outcome", [Outcome.HTTP_4XX, Outcome.HTTP_429, Outcome.CONNECT])
def test_unanswered_models_take_no_place(outcome: Outcome) -> None:
    """Guessing names of models fills no places: what the server does not answer is `other`."""
    metrics = make_metrics(max_models=3)
    for i in range(10):
        observe(metrics, RequestRecord(outcome, elapsed_ns=1), f"guess-{i}")
    observe(metrics, ok(), "real")
    observe(metrics, RequestRecord(outcome, elapsed_ns=1), "real")
    assert label_values(metrics, "goodput_requests_total", "model") == {"unknown", "other", "real"}
    assert total(metrics, "goodput_requests_total", model="other") == 10
    assert total(metrics, "goodput_requests_total", model="real") == 2


@pytest.mark.parametrize("model", ['a"b', "a\\b", "a\nb", "a\\nb", "{a}", "modèle", "😀", "a,b=c"])
def test_any_name_survives_the_exposition(model: str) -> None:
    """A name with characters that the formats use is read back as it was, in both formats."""
    metrics = make_metrics()
    observe(metrics, ok(), model)
    assert total(metrics, "goodput_requests_total", model=model) == 1
    labels = [dict(have) for _, have in read(metrics, OPENMETRICS)]
    assert any(have.get("model") == model for have in labels)


# -- histograms

LATENCIES = [
    ("ttft", "goodput_time_to_first_token_seconds"),
    ("itl", "goodput_inter_token_latency_seconds"),
    ("stall", "goodput_stall_seconds"),
    ("e2e", "goodput_request_duration_seconds"),
]


@pytest.mark.parametrize(("dimension", "name"), LATENCIES)
def test_every_limit_is_an_edge(dimension: str, name: str) -> None:
    """The limits of all classes are edges, once each, beside the defaults."""
    odd = [SloClass(f"c{ms}", Limits(**{f"{dimension}_ns": ms * MS}), 0.9) for ms in (123, 777)]
    plain = label_values(make_metrics(), f"{name}_bucket", "le")
    found = label_values(make_metrics(*odd, *odd[:1], DEFAULT), f"{name}_bucket", "le")
    assert found == plain | {"0.123", "0.777"}


@pytest.mark.parametrize(("dimension", "name"), LATENCIES)
@pytest.mark.parametrize("limit_ns", [123 * MS, 333_333_333, 100 * MS, 7 * 3600 * S + 1])
def test_a_value_equal_to_the_limit_is_within(dimension: str, name: str, limit_ns: int) -> None:
    """At the edge of a limit `<=` is exact: verdict and bucket say the same, to a nanosecond."""
    slo = SloClass("default", Limits(**{f"{dimension}_ns": limit_ns}), 0.9)
    metrics = make_metrics(slo)
    verdicts = [
        observe(metrics, ok(**{f"{dimension}_ns": ns}), slo=slo).verdict
        for ns in (limit_ns - 1, limit_ns, limit_ns + 1)
    ]
    assert verdicts == [Verdict.GOOD, Verdict.GOOD, Verdict.SLOW]
    le = str(limit_ns / 10**9)
    assert total(metrics, f"{name}_bucket", le=le) == 2
    assert total(metrics, f"{name}_count") == 3


def test_the_pauses_of_a_stream_have_limits_as_edges_too() -> None:
    """ICL's edges hold the limits of ITL and stall, and a timeline counts into the same."""
    slo = SloClass("default", Limits(itl_ns=33 * MS, stall_ns=1234 * MS), 0.9)
    metrics = make_metrics(slo)
    timeline = Timeline(0, metrics.icl_edges_ns)
    timeline.streamed = True
    for now_ns in (0, 33 * MS, 66 * MS + 1, 1300 * MS + 1, 2600 * MS):
        timeline.add(TokenEvent(), now_ns)
    record = timeline.record(status=200, end=End.CLEAN, end_ns=3 * S, last_byte_ns=3 * S)
    observe(metrics, record, slo=slo)
    name = "goodput_inter_chunk_latency_seconds"
    found = [total(metrics, f"{name}_bucket", le=le) for le in ("0.033", "1.234", "+Inf")]
    assert found == [1, 3, 4]
    assert total(metrics, f"{name}_sum") == 2.6


def test_what_was_not_measured_is_not_observed() -> None:
    """A value that does not exist is in no histogram, rather than a zero in it."""
    metrics = make_metrics()
    observe(metrics, RequestRecord(Outcome.OK, elapsed_ns=1))
    for _, name in LATENCIES:
        assert total(metrics, f"{name}_count") == 0


# -- what the proxy says of itself


def test_the_policy_is_told() -> None:
    """Limits and objectives are metrics, so that rules need no templates."""
    gold = SloClass("gold", Limits(250 * MS, None, 2 * S, None), 0.999)
    metrics = make_metrics(gold, DEFAULT)
    thresholds = {
        (dict(have)["slo"], dict(have)["dimension"]): value
        for have, value in scrape(metrics).of("goodput_slo_threshold_seconds").items()
    }
    assert thresholds == {
        ("gold", "ttft"): 0.25,
        ("gold", "stall"): 2,
        ("default", "ttft"): 0.5,
        ("default", "itl"): 0.1,
    }
    assert total(metrics, "goodput_slo_objective_ratio", slo="gold") == 0.999
    assert total(metrics, "goodput_slo_objective_ratio", slo="default") == 0.95


def test_the_proxys_own_counters() -> None:
    """What is not judged, what broke and what it cost is counted by reason, kind and stage."""
    metrics = make_metrics()
    metrics.passthrough(Passthrough.CONTROL)
    metrics.upstream_error(UpstreamFault.CLOSED)
    metrics.client_fault(ClientFault.SURPLUS)
    metrics.tap_error(MeterFault.BAD_JSON)
    metrics.slo_header_errors((SloHeaderFault.NOT_A_NUMBER, SloHeaderFault.NOT_A_NUMBER))
    metrics.overhead("token", 100_000, times=3)
    metrics.loop_lag(2 * MS)
    metrics.begin()
    unread = RequestRecord(
        Outcome.OK, elapsed_ns=1, unclassified={MeterFault.BAD_JSON: 2, MeterFault.INTERNAL: 1}
    )
    observe(metrics, unread)
    assert total(metrics, "goodput_passthrough_requests_total", kind="control") == 1
    assert total(metrics, "goodput_upstream_errors_total", reason="closed") == 1
    assert total(metrics, "goodput_client_faults_total", reason="surplus") == 1
    assert total(metrics, "goodput_tap_errors_total", reason="bad_json") == 3
    assert total(metrics, "goodput_tap_errors_total", reason="internal") == 1
    assert total(metrics, "goodput_slo_header_errors_total", reason="not_a_number") == 2
    assert total(metrics, "goodput_slo_header_errors_total") == 2
    overhead = "goodput_proxy_overhead_seconds"
    assert total(metrics, f"{overhead}_bucket", stage="token", le="0.0001") == 3
    assert total(metrics, f"{overhead}_sum", stage="token") == 0.0003
    assert total(metrics, "goodput_event_loop_lag_seconds_sum") == 0.002
    assert total(metrics, "goodput_requests_in_flight") == 1
    assert total(metrics, "goodput_config_last_reload_successful") == 1
    assert total(metrics, "goodput_build_info", version=__version__) == 1


# -- exposition


def full_metrics() -> Metrics:
    """Return metrics with a sample of every series."""
    metrics = make_metrics(SloClass("gold", Limits(123 * MS), 0.99), DEFAULT, pinned=("p",))
    observe(metrics, ok(output_tokens=3, input_tokens=4))
    observe(metrics, ok(ttft_ns=S))
    metrics.upstream_error(UpstreamFault.CLOSED)
    metrics.tap_error(MeterFault.BAD_JSON)
    metrics.overhead("token", 100_000)
    metrics.loop_lag(MS)
    return metrics


@pytest.mark.parametrize(
    ("accept", "content_type", "build"),
    [
        ("", "text/plain; version=", "goodput_build_info"),
        ("*/*", "text/plain; version=", "goodput_build_info"),
        (OPENMETRICS, "application/openmetrics-text; version=1.0.0", "goodput_build"),
        (f"{OPENMETRICS},text/plain;q=0.5", "application/openmetrics-text; ", "goodput_build"),
    ],
)
def test_formats_by_accept(accept: str, content_type: str, build: str) -> None:
    """Who accepts OpenMetrics gets it, others the text format; scrapers' parsers read both."""
    metrics = full_metrics()
    body, told = metrics.render(accept)
    assert told.startswith(content_type)
    assert body.endswith(b"# EOF\n") == ("openmetrics" in told)
    families = {family.name: family.type for family in parse(metrics, accept)}
    assert families["goodput_requests"] == "counter"
    assert families["goodput_inter_chunk_latency_seconds"] == "histogram"
    assert build in families


def test_both_formats_say_the_same() -> None:
    """The two formats hold the same samples."""
    metrics = full_metrics()
    text, openmetrics = (
        {key: value for key, value in read(metrics, accept).items() if key[0][:8] == "goodput_"}
        for accept in ("", OPENMETRICS)
    )
    assert text == openmetrics


@pytest.mark.parametrize("accept", ["", OPENMETRICS])
def test_no_created_series(accept: str) -> None:
    """prometheus_client's second series for each child would double the exposition for nothing."""
    body, _ = full_metrics().render(accept)
    assert b"_created" not in body


def test_promtool_has_no_complaint() -> None:
    """Names, units, types and help are as `promtool check metrics` wants them."""
    body, _ = full_metrics().render("")
    done = subprocess.run(
        [require_program("promtool"), "check", "metrics"],
        input=body,
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_rendering_in_a_thread_while_counting() -> None:
    """A scrape in its own thread never trips over a series that is born or counted meanwhile."""
    metrics = make_metrics(max_models=1000)
    failures: list[BaseException] = []
    stop = threading.Event()

    def scrape() -> None:
        try:
            while not stop.is_set():
                for accept in ("", OPENMETRICS):
                    metrics.render(accept)
        except BaseException as exc:  # noqa: BLE001 -- told by the assertion below
            failures.append(exc)

    thread = threading.Thread(target=scrape)
    thread.start()
    try:
        for i in range(40):
            for _ in range(20):
                observe(metrics, ok(output_tokens=1), f"model-{i}")
            metrics.overhead("token", i, times=2)
            metrics.tap_error(list(MeterFault)[i % len(MeterFault)])
    finally:
        stop.set()
        thread.join()
    assert failures == []
    assert total(metrics, "goodput_requests_total") == 800
    assert total(metrics, "goodput_inter_token_latency_seconds_count") == 800


# -- the load


@pytest.mark.parametrize(
    ("in_flight", "band"),
    [(1, "1"), (2, "2"), (3, "4"), (4, "4"), (5, "8"), (64, "64"), (65, "128"), (5000, "8192")],
)
def test_load_bands(in_flight: int, band: str) -> None:
    """A band ends at a power of two, has its requests by verdict, and says its end as a number."""
    metrics = make_metrics()
    observe(metrics, ok(), in_flight=in_flight)
    observe(metrics, ok(ttft_ns=501 * MS), in_flight=in_flight)
    observe(metrics, ok(outcome=Outcome.TRUNCATED), in_flight=in_flight)
    observe(metrics, ok(outcome=Outcome.CLIENT), in_flight=in_flight)
    observe(metrics, ok(outcome=Outcome.HTTP_4XX), in_flight=in_flight)
    labels = {"model": "m", "slo": "default", "in_flight": band}
    assert total(metrics, "goodput_load_requests_total", **labels, compliant="true") == 1
    assert total(metrics, "goodput_load_requests_total", **labels, compliant="false") == 2
    assert total(metrics, "goodput_load_requests_total") == 3
    assert total(metrics, "goodput_load_band_requests", in_flight=band) == int(band)


def test_a_band_exists_at_zero_when_its_request_is_first_answered() -> None:
    """Both of its counters do, before the request has ended."""
    metrics = make_metrics()
    metrics.admit(Api.CHAT, "m", DEFAULT, 6)
    samples = read(metrics)
    for compliant in ("true", "false"):
        labels = {"model": "m", "slo": "default", "in_flight": "8", "compliant": compliant}
        assert samples["goodput_load_requests_total", frozenset(labels.items())] == 0


# -- the frontier


def test_the_frontier_holds_completed_requests() -> None:
    """Good, partial and slow ones are on the grid, by model over all classes; no others."""
    metrics = make_metrics()
    for record in (
        ok(),
        ok(itl_ns=None),
        ok(ttft_ns=501 * MS),
        ok(ttft_ns=None, itl_ns=None),
        ok(outcome=Outcome.TRUNCATED),
        ok(outcome=Outcome.CLIENT),
    ):
        observe(metrics, record)
    corner = {"model": "m", "ttft_le": "+Inf", "itl_le": "+Inf"}
    within = {"model": "m", "ttft_le": "0.5", "itl_le": "0.1"}
    assert total(metrics, "goodput_frontier_requests_total", **corner) == 4
    assert total(metrics, "goodput_frontier_requests_total", **within) == 3


# -- another policy


STRICT = SloClass("strict", Limits(ttft_ns=333 * MS, stall_ns=7 * S), 0.5)


def test_another_policy() -> None:
    """Its limits become edges and thresholds, its classes labels; what was counted stays."""
    metrics = make_metrics()
    observe(metrics, ok(ttft_ns=400 * MS))
    metrics.apply(Policy((STRICT, DEFAULT), ("pinned",)))
    observe(metrics, ok(ttft_ns=300 * MS), slo=STRICT)
    observe(metrics, ok(ttft_ns=300 * MS))

    assert total(metrics, "goodput_requests_total", verdict="good", model="m") == 3
    assert set(expected_children("pinned", "strict")) <= read(metrics).keys()
    le = {"model": "m", "le": "0.333"}
    assert total(metrics, "goodput_time_to_first_token_seconds_bucket", **le) == 2
    cell = {"model": "m", "ttft_le": "0.333", "itl_le": "+Inf"}
    assert total(metrics, "goodput_frontier_requests_total", **cell) == 2
    thresholds = {
        (dict(labels)["slo"], dict(labels)["dimension"]): value
        for labels, value in scrape(metrics).of("goodput_slo_threshold_seconds").items()
    }
    assert thresholds == {
        ("strict", "ttft"): 0.333,
        ("strict", "stall"): 7,
        ("default", "ttft"): 0.5,
        ("default", "itl"): 0.1,
    }


def test_a_class_that_is_gone_is_promised_no_longer() -> None:
    """Its counters stay, its limits and its objective go."""
    metrics = make_metrics(STRICT, DEFAULT)
    observe(metrics, ok(), slo=STRICT)
    metrics.apply(Policy((DEFAULT,)))
    assert total(metrics, "goodput_requests_total", slo="strict") == 1
    assert label_values(metrics, "goodput_slo_objective_ratio", "slo") == {"default"}
    assert label_values(metrics, "goodput_slo_threshold_seconds", "slo") == {"default"}


def test_a_request_that_began_under_fewer_edges() -> None:
    """Gaps that were counted before a reload are added after it."""
    metrics = make_metrics()
    edges_ns = metrics.icl_edges_ns
    counts = [0] * (len(edges_ns) + 1)
    counts[3] = 5
    metrics.apply(Policy((STRICT, DEFAULT)))
    assert len(metrics.icl_edges_ns) > len(edges_ns)
    observe(metrics, ok(gaps=Gaps(tuple(counts), 5 * MS, edges_ns)))
    assert total(metrics, "goodput_inter_chunk_latency_seconds_count", model="m") == 5


def test_reloads() -> None:
    """The outcome of the last attempt shows, and when the last good one was."""
    metrics = make_metrics()
    (since,) = (v for (n, _), v in read(metrics).items() if n.endswith("success_timestamp_seconds"))
    assert time() - 60 < since <= time()
    for successful in (False, True):
        metrics.reloaded(successful=successful)
        assert total(metrics, "goodput_config_last_reload_successful") == successful


# -- exemplars


TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.mark.parametrize("flags", ["01", "00"])
def test_exemplars(flags: str) -> None:
    """A recorded trace is named by the verdict and by each latency of its request, else none is."""
    metrics = make_metrics()
    traceparent = f"00-{TRACE}-00f067aa0ba902b7-{flags}".encode()
    observe(metrics, ok(ttft_ns=501 * MS), headers=[(b"traceparent", traceparent)])
    named = {
        sample.name
        for family in parse(metrics, OPENMETRICS)
        for sample in family.samples
        if sample.exemplar is not None and sample.exemplar.labels == {"trace_id": TRACE}
    }
    assert named == (
        {
            "goodput_requests_total",
            "goodput_time_to_first_token_seconds_bucket",
            "goodput_inter_token_latency_seconds_bucket",
            "goodput_stall_seconds_bucket",
            "goodput_request_duration_seconds_bucket",
        }
        if flags == "01"
        else set()
    )
