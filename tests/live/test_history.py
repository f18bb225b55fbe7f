"""The history: all that the page knows, in bounded memory."""

from __future__ import annotations

import random

from goodput_proxy.live.history import Counts, History
from goodput_proxy.live.tally import GOOD, PLACES, total
from goodput_proxy.policy import Policy, SloClass
from goodput_proxy.record import Outcome
from goodput_proxy.slo import Limits, Verdict
from tests.live.traffic import CHAT, DEFAULT, MS, POLICY, S, ended, failed
from tests.sizes import size_of

START = 77_000 * S
OTHER = "other"


def history(policy: Policy = POLICY) -> History:
    return History(policy, lambda model: model if model.startswith("known") else OTHER, START)


def test_a_request_is_counted_everywhere() -> None:
    """By class, by model and by second, and it is kept."""
    past = history()
    past.observe(ended(DEFAULT, "known-1"), START + S)
    counts = past.counts(START + 2 * S)

    assert total(counts.classes.grown["default"], GOOD) == 1
    assert total(counts.models.grown["known-1"], GOOD) == 1
    assert counts.series == [[0, 1], [0, 0], [0, 0]]
    assert [kept.slo for kept in past.requests(START + 2 * S)[0]] == ["default"]
    assert (counts.now_ns, counts.start_ns) == (START + 2 * S, START)


def test_models_are_those_of_the_metrics() -> None:
    """A model without a label of its own is `other`, and still named in the list of requests."""
    past = history()
    for i in range(100):
        past.observe(ended(model=f"made-up-{i}"), START)

    assert list(past.counts(START).models.grown) == [OTHER]
    assert past.requests(START)[0][0].model == "made-up-99"


def test_time_passes_without_requests() -> None:
    """An hour later the window is empty, the total is not, and the worst are forgotten."""
    past = history()
    past.observe(failed(), START)
    counts = past.counts(START + 3601 * S)

    assert counts.classes.grown == counts.models.grown == {}
    assert counts.models_ever == {
        OTHER: [int(p == PLACES[Verdict.ERROR, "http_5xx"]) for p in range(len(PLACES))]
    }
    assert {sum(series) for series in counts.series} == {0}
    assert past.requests(START + 3601 * S)[1] == []


def test_another_policy_begins_anew_by_class() -> None:
    """Series and models go on; what was judged by other limits is not added up."""
    past = history()
    past.observe(ended(), START)
    past.apply(Policy((SloClass("new", Limits(ttft_ns=321 * MS), 0.5),)), START + 40 * S)
    past.observe(ended(), START + 41 * S)  # it began under the old policy
    counts = past.counts(START + 42 * S)

    assert counts.classes == (START // S + 40, {})
    assert 321 * MS in counts.layout.edges.ttft_ns
    assert [slo.name for slo in counts.policy.classes] == ["new"]
    assert total(counts.models.grown[OTHER], GOOD) == 2


def test_a_look_does_not_change_any_more() -> None:
    """What has been handed out is read in another thread."""
    past = history()
    past.observe(ended(), START)
    counts = past.counts(START + S)
    before = repr(frozen(counts))
    for i in range(500):
        past.observe(ended(ttft_ms=3000), START + i * S)

    assert repr(frozen(counts)) == before


def frozen(counts: Counts) -> tuple[object, ...]:
    return counts.series, counts.classes, counts.models, counts.models_ever


def test_an_hour_and_100_000_requests_stay_within_5_mb() -> None:
    """With 32 models, eight classes, long streams, and all that can go wrong."""
    choices = random.Random(5)
    classes = [SloClass(f"class-{i}", CHAT.limits, 0.9) for i in range(8)]
    past = history(Policy(tuple(classes)))

    requests = [
        ended(
            choices.choice(classes),
            f"known-{choices.randrange(32)}" if choices.random() < 0.9 else "x" * 256,
            outcome=choices.choice((Outcome.OK, Outcome.OK, Outcome.TRUNCATED)),
            ttft_ms=choices.randrange(10, 5000),
            itl_ms=choices.randrange(5, 200),
            tokens=128,
            in_flight=choices.randrange(1, 500),
            headers=[(b"x-request-id", b"%0128d" % choices.randrange(10**9))],
        )
        for _ in range(4000)
    ]
    before = size_of(past)
    for i in range(100_000):
        past.observe(requests[i % 4000], START + i * 36 * MS)
    past.counts(START + 3600 * S)

    assert len(past.requests(START + 3600 * S)[0]) == 200
    assert 1024 * 1024 < size_of(past) - before < 5 * 1024 * 1024
