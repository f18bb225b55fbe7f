"""What is counted of inference requests, by model and class.

Work is done once per request, never per token. Label children are looked up once per
(api, model, class) and kept; all children of a model exist at zero from the moment that the
model is first answered, for a counter that is born at 1 loses its first increment.

`model` comes from a request body, so it is bounded: the first `max_models` distinct values,
then `other`. Only a model that the server has answered (2xx) takes one of these places, so that
invented names cannot fill them. Models that a class names are always kept.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge

from .buckets import BulkHistogram, Child
from .classify import UNKNOWN_MODEL
from .edges import Edges, band_of, find_edges
from .frontier import Frontier, Grid
from .record import CancelPhase, Outcome, RequestRecord
from .slo import IN_RATIO, VERDICT_CAUSES, Dimension, Verdict
from .stream import Api
from .stream.events import TokenSource
from .trace import sampled_trace_id

if TYPE_CHECKING:
    from .judged import JudgedRequest
    from .policy import Policy, SloClass

OTHER_MODEL = "other"


def load_band(in_flight: int) -> str:
    """Return the upper end of the power-of-two band in which a number of requests lies."""
    return str(1 << band_of(in_flight))


@dataclass(frozen=True, slots=True)
class _Children:
    """The label children of one (api, model, class)."""

    model: str
    requests: dict[tuple[Verdict, str], Counter]
    compliant: Counter
    violations: dict[Dimension, Counter]
    output_tokens: dict[Verdict, Counter]
    input_tokens: dict[Verdict, Counter]
    cancels: dict[CancelPhase, Counter]
    ttft: Child
    itl: Child
    icl: Child
    stall: Child
    duration: Child
    frontier: Grid
    load: dict[str, dict[bool, Counter]] = field(default_factory=dict)  # by band, compliant or not


class RequestSeries:
    """The metrics of inference requests.

    Args:
        registry: where they are registered.
        policy: its limits become bucket edges, its classes label values.
        max_models: distinct values of the label `model`.
    """

    def __init__(self, registry: CollectorRegistry, policy: Policy, max_models: int) -> None:
        self._registry = registry
        self._max_models = max_models
        self._models = {UNKNOWN_MODEL}
        self._children: dict[tuple[Api, str, str], _Children] = {}
        self._edges = find_edges(policy)
        self._define_counts()
        self._define_latencies(self._edges)
        self._provide(policy)

    def _define_counts(self) -> None:
        self._requests = self._counter(
            "goodput_requests",
            "Inference requests by verdict; disjoint, so the sum is every request.",
            ("api", "model", "slo", "verdict", "cause"),
        )
        self._compliant = self._counter(
            "goodput_slo_compliant_requests",
            "Inference requests that met all limits of their class: good and good_partial.",
            ("api", "model", "slo"),
        )
        self._violations = self._counter(
            "goodput_slo_violations",
            "Limits missed; overlapping, since one request may miss several.",
            ("model", "slo", "dimension"),
        )
        self._output_tokens = self._counter(
            "goodput_output_tokens", "Generated tokens.", ("model", "slo", "verdict")
        )
        self._input_tokens = self._counter(
            "goodput_input_tokens", "Prompt tokens, as far as told.", ("model", "slo", "verdict")
        )
        self._cancels = self._counter(
            "goodput_client_cancels",
            "Requests whose client left early, by phase and whatever the verdict.",
            ("model", "slo", "phase"),
        )
        self._token_sources = self._counter(
            "goodput_token_count_source",
            "Requests by where their number of output tokens came from.",
            ("source",),
        )
        self._by_source = {s: self._token_sources.labels(s) for s in TokenSource}
        self._load = self._counter(
            "goodput_load_requests",
            "Requests of the goodput ratio by how many were in flight when they arrived, the"
            " request included: bands that double, named by their upper end.",
            ("model", "slo", "in_flight", "compliant"),
        )
        self._bands = Gauge(
            "goodput_load_band_requests",
            "The label in_flight of goodput_load_requests_total as a number, which PromQL cannot"
            " make of it.",
            ("in_flight",),
            registry=self._registry,
        )

    def _define_latencies(self, edges: Edges) -> None:
        self._ttft = self._histogram(
            "goodput_time_to_first_token_seconds",
            "Request head read to first token of any choice.",
            edges.ttft_ns,
        )
        self._itl = self._histogram(
            "goodput_inter_token_latency_seconds",
            "Mean time per output token after the first, one value per request (TPOT).",
            edges.itl_ns,
        )
        self._stall = self._histogram(
            "goodput_stall_seconds", "Longest pause between tokens of a request.", edges.stall_ns
        )
        self._duration = self._histogram(
            "goodput_request_duration_seconds",
            "Request head read to last token, or to the last byte of an unstreamed answer.",
            edges.e2e_ns,
        )
        self._icl = self._histogram(
            "goodput_inter_chunk_latency_seconds",
            "Every pause between consecutive token records.",
            edges.icl_ns,
        )
        self._frontier = Frontier(edges.frontier_ttft_ns, edges.frontier_itl_ns)
        self._registry.register(self._frontier)

    @property
    def icl_edges_ns(self) -> tuple[int, ...]:
        """The edges into which a timeline counts its gaps."""
        return self._icl.edges_ns

    def apply(self, policy: Policy) -> None:
        """Go on with another policy; nothing that was counted is lost."""
        self._edges = edges = find_edges(policy, self._edges)
        self._ttft.widen(edges.ttft_ns)
        self._itl.widen(edges.itl_ns)
        self._icl.widen(edges.icl_ns)
        self._stall.widen(edges.stall_ns)
        self._duration.widen(edges.e2e_ns)
        self._frontier.widen(edges.frontier_ttft_ns, edges.frontier_itl_ns)
        self._children.clear()  # they hold what may have been replaced
        self._provide(policy)

    def _provide(self, policy: Policy) -> None:
        """Create what a policy is sure to count, at zero."""
        self._models.update(policy.pinned_models)
        for slo in policy.classes:
            # A request that nobody took, as its server is down, has a class and no model.
            for model in (*policy.pinned_models, UNKNOWN_MODEL):
                for api in (Api.CHAT, Api.COMPLETIONS):
                    self._find_load(self._find(api, model, slo.name), slo.name, in_flight=1)

    def admit(self, api: Api, model: str, slo: SloClass, in_flight: int) -> None:
        """Create all children of a model that the server answers, at zero."""
        children = self._find(api, self._admit(model), slo.name)
        self._find_load(children, slo.name, in_flight)

    def observe(self, judged: JudgedRequest) -> None:
        """Count one inference request that has ended."""
        record, judgement = judged.record, judged.judgement
        verdict, slo = judgement.verdict, judged.slo.name
        children = self._find(judged.api, self.label_of(judged.model), slo)
        trace_id = sampled_trace_id(judged.headers)
        _observe_latencies(children, record, trace_id)
        if record.cancel_phase is not None:
            children.cancels[record.cancel_phase].inc()
        if record.input_tokens:
            children.input_tokens[verdict].inc(record.input_tokens)
        if record.output_tokens:
            children.output_tokens[verdict].inc(record.output_tokens)
            self._by_source[record.token_source].inc()
        for dimension in judgement.missed:
            children.violations[dimension].inc()
        if verdict in IN_RATIO:
            load = self._find_load(children, slo, judged.in_flight)
            load[judgement.compliant].inc()
        # Last, so that a failure above leaves the request uncounted and not half-counted.
        exemplar = {"trace_id": trace_id} if trace_id else None
        children.requests[verdict, judgement.cause].inc(1, exemplar)
        if judgement.compliant:
            children.compliant.inc()

    def label_of(self, model: str) -> str:
        """Return the value of the label `model` for a request that names this one."""
        return model if model in self._models else OTHER_MODEL

    def _admit(self, model: str) -> str:
        if len(self._models) < self._max_models:
            self._models.add(model)
        return self.label_of(model)

    def _find(self, api: Api, model: str, slo: str) -> _Children:
        key = (api, model, slo)
        children = self._children.get(key)
        if children is None:
            children = self._children[key] = self._make(api, model, slo)
        return children

    def _find_load(self, children: _Children, slo: str, in_flight: int) -> dict[bool, Counter]:
        band = load_band(in_flight)
        load = children.load.get(band)
        if load is None:
            self._bands.labels(band).set(int(band))
            load = children.load[band] = {
                compliant: self._load.labels(children.model, slo, band, str(compliant).lower())
                for compliant in (True, False)
            }
        return load

    def _make(self, api: Api, model: str, slo: str) -> _Children:
        return _Children(
            model=model,
            requests={
                (verdict, cause): self._requests.labels(api, model, slo, verdict, cause)
                for verdict, cause in VERDICT_CAUSES
            },
            compliant=self._compliant.labels(api, model, slo),
            violations={d: self._violations.labels(model, slo, d) for d in Dimension},
            output_tokens={v: self._output_tokens.labels(model, slo, v) for v in Verdict},
            input_tokens={v: self._input_tokens.labels(model, slo, v) for v in Verdict},
            cancels={p: self._cancels.labels(model, slo, p) for p in CancelPhase},
            ttft=self._ttft.child(model, slo),
            itl=self._itl.child(model, slo),
            icl=self._icl.child(model, slo),
            stall=self._stall.child(model, slo),
            duration=self._duration.child(model, slo),
            frontier=self._frontier.grid(model),
        )

    def _counter(self, name: str, documentation: str, labels: tuple[str, ...]) -> Counter:
        return Counter(name, documentation, labels, registry=self._registry)

    def _histogram(self, name: str, documentation: str, edges_ns: tuple[int, ...]) -> BulkHistogram:
        histogram = BulkHistogram(name, documentation, ("model", "slo"), edges_ns)
        self._registry.register(histogram)
        return histogram


def _observe_latencies(children: _Children, record: RequestRecord, trace_id: str) -> None:
    if record.ttft_ns is not None:
        children.ttft.observe(record.ttft_ns, trace_id=trace_id)
    if record.itl_ns is not None:
        children.itl.observe(record.itl_ns, trace_id=trace_id)
    if record.stall_ns is not None:
        children.stall.observe(record.stall_ns, trace_id=trace_id)
        children.icl.add(record.gaps.counts, record.gaps.sum_ns, record.gaps.edges_ns)
    if record.outcome is Outcome.OK:
        if record.e2e_ns is not None:
            children.duration.observe(record.e2e_ns, trace_id=trace_id)
        children.frontier.count(record.ttft_ns, record.itl_ns)
