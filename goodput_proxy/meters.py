"""Which meter looks at a request, if any, and what is counted of those that have none.

The data path asks here once per request and lives on if there is no good answer: everything is
guarded, as in the meters themselves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .classify import Passthrough, Route, classify
from .guard import Guarded
from .realtime import RealtimeMeter
from .stream import Api, is_realtime
from .tap import InferenceHead, Tap
from .tapqueue import TapQueue

if TYPE_CHECKING:
    from collections.abc import Callable

    from .faults import ClientFault, UpstreamFault
    from .heads import Headers
    from .judged import Observer
    from .ledger import Ledger
    from .policy import Policy
    from .settings import LimitSettings


class Choice:
    """What was decided of one request; making one cannot fail."""

    tap: Tap | None = None
    kind = Passthrough.UNMEASURED  # what it counts as without a tap


class Meters(Guarded):
    """The meters of all requests.

    Args:
        policy: the SLO classes.
        metrics: where everything is counted.
        limits: bounds on what is looked into.
        call_soon: the event loop's.
    """

    __slots__ = ("_limits", "observers", "policy", "queue")

    def __init__(
        self,
        policy: Policy,
        metrics: Ledger,
        limits: LimitSettings,
        call_soon: Callable[[Callable[[], None]], object],
    ) -> None:
        super().__init__(metrics)
        self._limits = limits
        self.policy = policy  # requests in flight keep the one they began with
        self.queue = TapQueue(call_soon, metrics)
        self.observers: tuple[Observer, ...] = ()  # who is told of each verdict

    def choose(self, method: str, path: str, headers: Headers, t0_ns: int) -> Choice:
        """Return the tap of an inference request, and what another one counts as."""
        choice = Choice()
        self._guard(self._choose, choice, method, path, headers, t0_ns)
        return choice

    def watch(self, target: str, headers: Headers, protocol: bytes) -> RealtimeMeter | None:
        """Return the meter of a connection that asks for another protocol, if it is realtime."""
        found: list[RealtimeMeter] = []
        self._guard(self._watch, found, target, headers, protocol)
        return found[0] if found else None

    def begin(self, choice: Choice) -> None:
        """Count a request in."""
        if choice.tap is not None:
            self._guard(self._metrics.begin)

    def end(self, choice: Choice) -> None:
        """Count a request out."""
        if choice.tap is not None:
            self._guard(self._metrics.end)

    def passthrough(self, kind: Passthrough) -> None:
        """Count a request that is not judged."""
        self._guard(self._metrics.passthrough, kind)

    def overhead(self, stage: str, value_ns: int) -> None:
        """Count time that a request spent in the proxy."""
        self._guard(self._metrics.overhead, stage, value_ns)

    def loop_lag(self, value_ns: int) -> None:
        """Count how late the event loop was."""
        self._guard(self._metrics.loop_lag, value_ns)

    def upstream_error(self, reason: UpstreamFault) -> None:
        """Count an exchange that the upstream broke."""
        self._guard(self._metrics.upstream_error, reason)

    def client_fault(self, reason: ClientFault) -> None:
        """Count a client's connection that was closed on it."""
        self._guard(self._metrics.client_fault, reason)

    def _choose(self, choice: Choice, method: str, path: str, headers: Headers, t0_ns: int) -> None:
        route = classify(method, path)
        if not isinstance(route, Route):
            choice.kind = route
        elif route.endpoint.api is Api.EMBEDDINGS and not self.policy.names(path):
            choice.kind = Passthrough.EMBEDDING
        else:
            head = InferenceHead(route, path, headers, t0_ns, self._metrics.in_flight + 1)
            choice.tap = Tap(head, self.policy, self._metrics, self._limits, self.observers)

    def _watch(
        self, found: list[RealtimeMeter], target: str, headers: Headers, protocol: bytes
    ) -> None:
        if protocol.lower() == b"websocket" and is_realtime(target.partition("?")[0]):
            meter = RealtimeMeter(
                target,
                headers,
                self.policy,
                self._metrics,
                self._limits,
                queue=self.queue,
                observers=self.observers,
            )
            found.append(meter)

    def _give_up(self) -> None:
        """Hold on to nothing: each request is chosen for anew."""
