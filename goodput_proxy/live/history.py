"""All that the live page knows: counts by class, model and second, and some requests; pure.

Time enters as an argument, in nanoseconds of the monotonic clock. Memory is bounded by the number
of classes, by the models that have a label of their own, and by constants.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from goodput_proxy.edges import find_edges

from .kept import WORST_AGE_S, KeptRequest, KeptRequests
from .seconds import Seconds
from .tally import PLACES, Layout
from .window import Window

if TYPE_CHECKING:
    from collections.abc import Callable

    from goodput_proxy.judged import JudgedRequest
    from goodput_proxy.policy import Policy

    from .window import Span

_SECOND_NS = 10**9


class Counts(NamedTuple):
    """What was counted, as it was at one moment: nothing in here changes any more.

    Attributes:
        second: the present one, of which the series hold nothing yet.
        series: good, slow and failed requests of each second that has passed.
        models_ever: as `models`, since the start of the process.
    """

    now_ns: int
    start_ns: int
    policy: Policy
    layout: Layout
    second: int
    series: list[list[int]]
    classes: Span
    models: Span
    models_ever: dict[str, list[int]]


class History:
    """The memory of the live page.

    Args:
        policy: the classes and limits in force.
        label_of: returns the bounded name of a model, `other` for most.
        now_ns: when it begins.
    """

    def __init__(self, policy: Policy, label_of: Callable[[str], str], now_ns: int) -> None:
        self._label_of = label_of
        self._start_ns = now_ns
        self._second = now_ns // _SECOND_NS
        self._seconds = Seconds(self._second)
        self._models = Window(len(PLACES), self._second)
        self._kept = KeptRequests()
        self._begin(policy)

    def apply(self, policy: Policy, now_ns: int) -> None:
        """Go on with another policy; what is shown by class begins anew.

        Verdicts by two sets of limits do not add up to anything that a reader could use.
        """
        self._advance(now_ns)
        self._begin(policy)

    def observe(self, judged: JudgedRequest, now_ns: int) -> None:
        """Count a request that ended now."""
        self._advance(now_ns)
        place = PLACES[judged.judgement.verdict, judged.judgement.cause]
        self._seconds.count(place)
        self._models.row(self._label_of(judged.model))[place] += 1
        # A class of a policy before this one has no place any more.
        if judged.slo.name in self._names:
            self._layout.count(self._classes.row(judged.slo.name), place, judged)
        self._kept.add(judged, now_ns)

    def counts(self, now_ns: int) -> Counts:
        """Return what has been counted so far."""
        self._advance(now_ns)
        second, series = self._seconds.look()
        return Counts(
            now_ns,
            self._start_ns,
            self._policy,
            self._layout,
            second,
            series,
            self._classes.look(),
            self._models.look(),
            self._models.totals(),
        )

    def requests(self, now_ns: int) -> tuple[list[KeptRequest], list[KeptRequest]]:
        """Return the latest requests and the worst."""
        self._advance(now_ns)
        return self._kept.look()

    def _begin(self, policy: Policy) -> None:
        self._policy = policy
        self._names = frozenset(slo.name for slo in policy.classes)
        self._layout = Layout(find_edges(policy))
        self._classes = Window(self._layout.size, self._second)

    def _advance(self, now_ns: int) -> None:
        second = now_ns // _SECOND_NS
        if second == self._second:
            return
        self._second = second
        self._seconds.advance(second)
        self._classes.advance(second)
        self._models.advance(second)
        self._kept.forget(now_ns - WORST_AGE_S * _SECOND_NS)
