"""What the observers must agree on, and by how much their clocks may differ.

Pure: what was seen in, checks and numbers out.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from tests.agreement.load import E2E_LIMIT_MS, ITL_LIMIT_MS, PLANS, TTFT_LIMIT_MS
from tests.agreement.scenarios import GOOD, OK, SCENARIOS, Scenario

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tests.agreement.clients import AiperfRun, Seen

# AIPerf's clock starts before it connects. What it says to have spent on that is no disagreement;
# what is left is the way to the proxy and back, on one machine.
MEAN_TTFT_MS = 2.0
MEAN_ITL_MS = 0.5
# No request may come this close to a limit, or its verdict would be a matter of luck.
CLEARANCE_MS = 10.0
# A scenario's value is on time up to this: two scripts' times differ by 100 ms where it matters,
# and a first request waits for its client's first connection.
LATE_MS = 80.0
EARLY_MS = 5.0
ITL_TOLERANCE_MS = 8.0


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that has to hold."""

    holds: bool
    name: str
    detail: str


@dataclass(frozen=True, slots=True)
class LoadResult:
    """Both observers' view of one load."""

    aiperf: AiperfRun
    judged: Mapping[str, Seen]  # by `x-request-id`, as those of AIPerf
    good: int  # the counter's growth
    requests: int
    means_ms: Mapping[str, float]  # of the proxy's histograms

    @property
    def difference_ms(self) -> dict[str, float]:
        """AIPerf's means less the proxy's."""
        return {name: self.aiperf.means_ms[name] - self.means_ms[name] for name in self.means_ms}

    @property
    def ttft_difference_ms(self) -> float:
        """The same of TTFT, without what AIPerf spent on connecting."""
        return self.difference_ms["ttft"] - self.connecting_ms

    @property
    def median_ttft_difference_ms(self) -> float:
        """How far apart the two are on most requests."""
        return median(
            theirs.ttft_ms - ours.ttft_ms
            for request_id, ours in self.judged.items()
            if (theirs := self.aiperf.records.get(request_id)) is not None
            and theirs.ttft_ms is not None
            and ours.ttft_ms is not None
        )

    @property
    def connecting_ms(self) -> float:
        """What of AIPerf's mean TTFT it spent on connecting, as it says itself."""
        spent = [seen.connecting_ms for seen in self.aiperf.records.values()]
        return sum(spent) / len(spent)

    @property
    def unequal(self) -> list[str]:
        """The requests on which the two differ: in the verdict, or in the number of tokens."""
        records, judged = self.aiperf.records, self.judged
        return sorted(
            request_id
            for request_id in records.keys() | judged.keys()
            if (ours := judged.get(request_id)) is None
            or (theirs := records.get(request_id)) is None
            or (ours.outcome == "good") != (theirs.outcome == GOOD)
            or ours.tokens != theirs.tokens
        )

    @property
    def clearance_ms(self) -> float:
        """How near any value came to its limit, in the eyes of either."""
        seen = [*self.aiperf.records.values(), *self.judged.values()]
        return min(
            abs(value - limit)
            for each in seen
            for value, limit in (
                (each.ttft_ms, TTFT_LIMIT_MS),
                (each.itl_ms, ITL_LIMIT_MS),
                (each.e2e_ms, E2E_LIMIT_MS),
            )
            if value is not None
        )

    def means_agree(self) -> bool:
        """Return whether the clocks agree, which a machine that is too busy can spoil."""
        itl_ms = self.difference_ms["itl"]
        return abs(self.ttft_difference_ms) <= MEAN_TTFT_MS and abs(itl_ms) <= MEAN_ITL_MS


def check_load(result: LoadResult) -> Iterable[Check]:
    """Yield what has to hold of a load."""
    wanted = sum(not plan.slow for plan in PLANS)
    counts = f"AIPerf {result.aiperf.requests}, proxy {result.requests}, sent {len(PLANS)}"
    yield Check(result.aiperf.requests == result.requests == len(PLANS), "requests", counts)
    counts = f"AIPerf {result.aiperf.good}, proxy {result.good}, by plan {wanted}"
    yield Check(result.aiperf.good == result.good == wanted, "good requests", counts)
    unequal = result.unequal
    yield Check(not unequal, "each request: verdict and tokens", f"{len(unequal)} differ")
    clear = f"{result.clearance_ms:.1f} ms, more than {CLEARANCE_MS:g}"
    yield Check(result.clearance_ms > CLEARANCE_MS, "nearest to a limit", clear)
    for name, apart, tolerance in (
        ("ttft", result.ttft_difference_ms, MEAN_TTFT_MS),
        ("itl", result.difference_ms["itl"], MEAN_ITL_MS),
    ):
        both = f"AIPerf {result.aiperf.means_ms[name]:.3f}, proxy {result.means_ms[name]:.3f} ms"
        spent = f", {result.connecting_ms:.3f} ms of it connecting" if name == "ttft" else ""
        detail = f"{both}{spent}: {apart:+.3f}, at most {tolerance:g}"
        yield Check(abs(apart) <= tolerance, f"mean {name.upper()}", detail)


@dataclass(frozen=True, slots=True)
class Row:
    """What everybody made of one scenario; the proxy has seen it three times."""

    scenario: Scenario
    aiperf: tuple[Seen, Seen]
    vllm: Seen
    judged: tuple[Seen, ...]


def rows_of(
    aiperf: tuple[Mapping[str, Seen], Mapping[str, Seen]],
    vllm: Mapping[str, Seen],
    judged: Mapping[str, Seen],
    prompts: Mapping[str, str],
) -> list[Row]:
    """Bring together what was said of each scenario; all are by `x-request-id`."""

    def by_prompt(seen: Mapping[str, Seen]) -> dict[str, list[Seen]]:
        found: dict[str, list[Seen]] = {}
        for request_id, each in seen.items():
            found.setdefault(prompts[request_id], []).append(each)
        return found

    own, counted, theirs, ours = map(by_prompt, (*aiperf, vllm, judged))
    return [
        Row(s, (own[s.prompt][0], counted[s.prompt][0]), theirs[s.prompt][0], (*ours[s.prompt],))
        for s in SCENARIOS
    ]


def check_row(row: Row) -> Iterable[Check]:
    """Yield what has to hold of a scenario: everybody says what is listed."""
    scenario = row.scenario
    for name, seen, expected in (
        ("AIPerf, tokenizer", row.aiperf[0], scenario.aiperf[0]),
        ("AIPerf, usage", row.aiperf[1], scenario.aiperf[1]),
        ("vLLM", row.vllm, scenario.vllm),
        *(("proxy", each, scenario.verdict) for each in row.judged),
    ):
        yield Check(seen.outcome == expected, name, f"{seen.outcome}, expected {expected}")
    yield Check(len(row.judged) == 3, "seen by the proxy", f"{len(row.judged)} times")
    yield from _check_times(row)


def _check_times(row: Row) -> Iterable[Check]:
    scenario, times = row.scenario, row.scenario.times
    for each in row.judged if scenario.verdict.startswith("good") else ():
        yield _on_time("proxy's TTFT", each.ttft_ms, times.ttft_ms)
        yield _on_time("proxy's E2E", each.e2e_ms, times.e2e_ms)
        yield _even("proxy's ITL", each.itl_ms, times.itl_ms)
    aiperf_ttft_ms = scenario.aiperf_ttft_ms or times.ttft_ms
    for seen in row.aiperf:
        if seen.outcome == GOOD:
            yield _on_time("AIPerf's TTFT", seen.ttft_ms, aiperf_ttft_ms)
            yield _on_time("AIPerf's E2E", seen.e2e_ms, times.e2e_ms)
    if row.aiperf[1].outcome == GOOD and scenario.aiperf_ttft_ms is None:
        yield _even("AIPerf's ITL", row.aiperf[1].itl_ms, times.itl_ms)
    if row.vllm.outcome == OK:
        yield _on_time("vLLM's TTFT", row.vllm.ttft_ms, scenario.vllm_ttft_ms or times.ttft_ms)
        yield _on_time("vLLM's E2E", row.vllm.e2e_ms, times.e2e_ms)


def _on_time(name: str, value: float | None, expected: float | None) -> Check:
    if value is None or expected is None:
        return Check(value is expected, name, f"{value}, expected {expected}")
    holds = -EARLY_MS <= value - expected <= LATE_MS
    return Check(holds, name, f"{value:.1f} ms, expected {expected:.1f}")


def _even(name: str, value: float | None, expected: float | None) -> Check:
    if value is None or expected is None:
        return Check(value is expected, name, f"{value}, expected {expected}")
    holds = abs(value - expected) <= ITL_TOLERANCE_MS
    return Check(holds, name, f"{value:.1f} ms, expected {expected:.1f}")
