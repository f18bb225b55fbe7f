"""From samples to a table and a verdict: pure, no process and no clock.

A cell is the median over rounds, with the lowest and the highest beside it. A ratio is
taken within each round first and then its median, so that a round on a slow machine
weighs on both sides. The budget is the project's own promise; `must` decides PASS or
FAIL, `aim` is printed beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from bench.measure import Plan, Sample
from bench.meter import FORMATS
from bench.peers import DIRECT, ENVOY, GOODPUT, GOODPUT_COMPILED, NGINX, PLAIN_AIOHTTP

Figure = Callable[[Sample], float]

_HARNESS_CORE_LIMIT = 0.8  # above it queueing in the harness shows in every latency
_DIRECT_P50_LIMIT_MS = 1.0
_QUIET_STRANGER_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class Spread:
    """A figure over the rounds."""

    median: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Check:
    """One line under the table."""

    name: str
    measured: float | None
    must: float | None = None
    """Upper limit; None: printed, not judged."""
    aim: float | None = None
    at_least: bool = False
    """Both are lower limits."""

    @property
    def verdict(self) -> str:
        """PASS, FAIL, SKIP when a proxy was not measured, INFO when there is no limit."""
        if self.measured is None:
            return "SKIP"
        if self.must is None:
            return "INFO"
        return "PASS" if self.meets(self.must) else "FAIL"

    def meets(self, limit: float) -> bool:
        """Return whether what was measured is within a limit."""
        if self.measured is None:
            return False
        return self.measured >= limit if self.at_least else self.measured <= limit

    @property
    def sign(self) -> str:
        """How limits are written."""
        return ">=" if self.at_least else "<="

    def line(self) -> str:
        """Return the check as a line of text."""
        text = f"{self.verdict}  {self.name}: "
        text += "not measured" if self.measured is None else f"{self.measured:.2f}"
        limits = [
            f"{word} {self.sign} {limit:.2f}"
            for word, limit in (("must", self.must), ("aim", self.aim))
            if limit is not None
        ]
        return text + (f" ({', '.join(limits)})" if limits else "")


class Results:
    """All samples of one run, by proxy and round."""

    def __init__(self, samples: Iterable[Sample]) -> None:
        self.by_peer: dict[str, dict[int, Sample]] = {}
        for sample in samples:
            self.by_peer.setdefault(sample.peer, {})[sample.round] = sample

    def spread(self, peer: str, figure: Figure) -> Spread | None:
        """Return `figure` of `peer` over the rounds."""
        return spread_of([figure(s) for s in self.by_peer.get(peer, {}).values()])

    def ratio(self, peer: str, base: str, figure: Figure) -> Spread | None:
        """Return `figure` of `peer` divided by that of `base`, round by round."""
        return self._paired(peer, base, lambda a, b: figure(a) / figure(b) if figure(b) else None)

    def added(self, peer: str, figure: Figure) -> Spread | None:
        """Return what `peer` adds to `figure` of the direct connection, round by round."""
        return self._paired(peer, DIRECT, lambda a, b: figure(a) - figure(b))

    def _paired(
        self, peer: str, base: str, combine: Callable[[Sample, Sample], float | None]
    ) -> Spread | None:
        ours, theirs = self.by_peer.get(peer, {}), self.by_peer.get(base, {})
        values = [combine(ours[n], theirs[n]) for n in sorted(ours.keys() & theirs.keys())]
        return spread_of([value for value in values if value is not None])


def spread_of(values: Sequence[float]) -> Spread | None:
    """Return the median and both ends, None of nothing."""
    return Spread(median(values), min(values), max(values)) if values else None


def token_cpu_us(sample: Sample) -> float:
    """CPU per streamed token."""
    return sample.stream.cpu_us_per_unit


def request_cpu_us(sample: Sample) -> float:
    """CPU per small request."""
    return sample.small.cpu_us_per_unit


def token_p50_ms(sample: Sample) -> float:
    """Median time from the upstream's write to the client's read."""
    return sample.stream.p50_ms


def token_p99_ms(sample: Sample) -> float:
    """The same, 99th percentile."""
    return sample.stream.p99_ms


def harness_core_share(sample: Sample) -> float:
    """How much of their core upstream and client used while streaming."""
    return sample.stream.harness_core_share


def judged_build(results: Results) -> str:
    """Return which build of the proxy the budget is about: the compiled one where it can be."""
    return GOODPUT_COMPILED if GOODPUT_COMPILED in results.by_peer else GOODPUT


def budget_checks(results: Results) -> list[Check]:
    """Return the promises that this run can judge."""
    ours = judged_build(results)

    def ratio(base: str, figure: Figure) -> float | None:
        found = results.ratio(ours, base, figure)
        return None if found is None else found.median

    idle = results.spread(ours, lambda sample: sample.rss_idle_mb)
    return [
        Check("CPU per token / nginx", ratio(NGINX, token_cpu_us), 1.25, 1.0),
        Check("CPU per token / plain aiohttp", ratio(PLAIN_AIOHTTP, token_cpu_us), 0.55, 0.4),
        Check("CPU per token / Envoy", ratio(ENVOY, token_cpu_us), 0.9, 0.7),
        Check("CPU per small request / Envoy", ratio(ENVOY, request_cpu_us), 1.5, 1.0),
        Check("resident memory when idle, MB", idle.median if idle else None, 60, 45),
        Check("CPU per small request / nginx", ratio(NGINX, request_cpu_us)),
        Check("CPU per small request / plain aiohttp", ratio(PLAIN_AIOHTTP, request_cpu_us)),
        # Not judged: on one shared harness core the direct connection queues too, so what
        # a proxy adds to it is a difference of two queues and can even be negative.
        Check("latency p50, upstream to client / nginx", ratio(NGINX, token_p50_ms)),
        Check("latency p99, upstream to client / nginx", ratio(NGINX, token_p99_ms)),
    ]


def harness_checks(results: Results) -> list[Check]:
    """Return whether the bench measured the proxies or itself, and how quiet it was."""
    shares = [results.spread(peer, harness_core_share) for peer in results.by_peer]
    strangers = [
        sample.stream.stranger_share
        for rounds in results.by_peer.values()
        for sample in rounds.values()
    ]
    direct = results.spread(DIRECT, token_p50_ms)
    return [
        Check(
            "highest share of their core that upstream and client used",
            max((share.median for share in shares if share), default=None),
            _HARNESS_CORE_LIMIT,
        ),
        Check(
            "latency p50 without a proxy, ms",
            direct.median if direct else None,
            _DIRECT_P50_LIMIT_MS,
        ),
        Check(
            "median share of a core that other programs used",
            median(strangers) if strangers else None,
            None,
            _QUIET_STRANGER_SHARE,
        ),
    ]


_COLUMNS = (
    "proxy",
    "CPU us/token (low-high)",
    "/ nginx",
    "/ Envoy",
    "/ plain aiohttp",
    "kernel share",
    "latency p50 / p99 / p99.9 ms",
    "added p50 ms",
    "core used",
    "CPU us/small request",
    "/ nginx",
    "/ Envoy",
    "RSS idle / peak MB",
)


def table(results: Results) -> str:
    """Return the Markdown table, one row per measured proxy."""
    lines = [row(_COLUMNS), row(["---"] * len(_COLUMNS))]
    lines += [row(_cells(results, peer)) for peer in results.by_peer]
    return "\n".join(lines)


def row(cells: Iterable[str]) -> str:
    """Return a line of a Markdown table."""
    return "| " + " | ".join(cells) + " |"


def _cells(results: Results, peer: str) -> list[str]:
    def value(figure: Figure, digits: int) -> str:
        return _number(results.spread(peer, figure), digits)

    latency = [
        value(figure, 2)
        for figure in (token_p50_ms, token_p99_ms, lambda sample: sample.stream.p999_ms)
    ]
    latency_text = " / ".join(latency)
    if peer == DIRECT:
        return [peer, *[""] * 5, latency_text, *[""] * 6]
    cpu = results.spread(peer, token_cpu_us)
    return [
        peer,
        f"{cpu.median:.1f} ({cpu.low:.1f}-{cpu.high:.1f})" if cpu else "",
        _number(results.ratio(peer, NGINX, token_cpu_us), 2),
        _number(results.ratio(peer, ENVOY, token_cpu_us), 2),
        _number(results.ratio(peer, PLAIN_AIOHTTP, token_cpu_us), 2),
        value(lambda sample: sample.stream.system_share, 2),
        latency_text,
        _number(results.added(peer, token_p50_ms), 2),
        value(lambda sample: sample.stream.proxy_core_share, 2),
        value(request_cpu_us, 0),
        _number(results.ratio(peer, NGINX, request_cpu_us), 2),
        _number(results.ratio(peer, ENVOY, request_cpu_us), 2),
        value(lambda sample: sample.rss_idle_mb, 0)
        + " / "
        + value(lambda sample: sample.rss_peak_mb, 0),
    ]


def _number(spread: Spread | None, digits: int) -> str:
    return "" if spread is None else f"{spread.median:.{digits}f}"


def describe_plan(plan: Plan) -> str:
    """Return the load in a sentence."""
    stream, small = plan.stream, plan.small
    pace = (
        f"each every {small.interval_us / 1000:g} ms" if small.interval_us else "as fast as they go"
    )
    return (
        f"{stream.connections} connections x {stream.requests} requests x {stream.tokens} tokens "
        f"at {1e6 / stream.interval_us:g} tokens/s each "
        f"({stream.total_tokens / stream.ideal_s:,.0f} tokens/s); then {small.connections} "
        f"connections x {small.requests} small requests, {pace}; "
        f"medians of {plan.rounds} interleaved rounds; proxy alone on one core"
    )


def meter_table(costs: dict[str, dict[str, float]]) -> str:
    """Return what the meter costs per record, by format and build."""
    head = "| format | must | " + " | ".join(f"{build}, us/record" for build in costs) + " |"
    rows = [
        f"| {form.name} | {form.must_us or ''} | "
        + " | ".join(f"{by_format[form.name]:.2f}" for by_format in costs.values())
        + " |"
        for form in FORMATS
    ]
    return "\n".join([head, "| --- | --- |" + " --- |" * len(costs), *rows])


def meter_checks(costs: dict[str, dict[str, float]]) -> list[Check]:
    """Return what was promised of the meter alone; the compiled build is judged where it is."""
    judged = costs.get(GOODPUT_COMPILED) or costs.get(GOODPUT) or {}
    return [
        Check(f"us per record, {form.name}", judged[form.name], form.must_us)
        for form in FORMATS
        if form.name in judged
    ]


def render(
    facts: dict[str, str],
    plan: Plan,
    results: Results,
    skipped: dict[str, str],
    costs: dict[str, dict[str, float]],
) -> str:
    """Return the whole report as Markdown."""
    parts = [
        "# goodput-proxy and its peers, side by side",
        "\n".join(f"- {key}: {value}" for key, value in facts.items())
        + f"\n- load: {describe_plan(plan)}",
        table(results),
    ]
    if skipped:
        parts.append("\n".join(f"- skipped {name}: {why}" for name, why in skipped.items()))
    if costs:
        parts += ["What the meter costs, caches warm:", meter_table(costs)]
    for title, checks in (
        (f"Budget, of {judged_build(results)}", budget_checks(results) + meter_checks(costs)),
        ("Is the bench itself sound", harness_checks(results)),
    ):
        parts.append(f"{title}:\n\n" + "\n".join(f"- {check.line()}" for check in checks))
    return "\n\n".join(parts) + "\n"
