"""What the workers and the process that supervises them tell each other.

Upwards goes MessagePack, for a worker reads what strangers send, and nothing that it says may be
more than a message of these types. Of a request's headers only what becomes an exemplar or a name
in the log goes along. Downwards go pickles of settings, which are the supervisor's own.
"""

from __future__ import annotations

import pickle
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from .heads import Headers, find_header
from .judged import JudgedRequest
from .policy import SloClass
from .record import RequestRecord
from .slo import Judgement, Limits
from .stream import Api

if TYPE_CHECKING:
    from .settings import Settings

# The headers that `trace` reads.
_KEPT = (b"traceparent", b"x-request-id")
# What `trace` reads of them is shorter.
_MAX_VALUE_BYTES = 256


class Admission(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A model that the server answers, with a class and a load that were not told before."""

    api: Api
    model: str
    slo: str
    in_flight: int


class Ending(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A judged request; its class by name, with the limits that it had for this request."""

    api: Api
    model: str
    slo: str
    objective: float
    limits: tuple[int | None, int | None, int | None, int | None]
    record: RequestRecord
    judgement: Judgement
    in_flight: int
    headers: Headers

    @classmethod
    def of(cls, judged: JudgedRequest) -> Ending:
        """Return what is told of a request."""
        slo, limits = judged.slo, judged.slo.limits
        return cls(
            judged.api,
            judged.model,
            slo.name,
            slo.objective,
            (limits.ttft_ns, limits.itl_ns, limits.stall_ns, limits.e2e_ns),
            judged.record,
            judged.judgement,
            judged.in_flight,
            [
                (name, value)
                for name in _KEPT
                if (value := find_header(judged.headers, name)) and len(value) <= _MAX_VALUE_BYTES
            ],
        )

    def judged(self) -> JudgedRequest:
        """Return the request as those who count it want it."""
        return JudgedRequest(
            self.api,
            self.model,
            SloClass(self.slo, Limits(*self.limits), self.objective),
            self.record,
            self.judgement,
            self.in_flight,
            self.headers,
        )


class Timing(msgspec.Struct, gc=False, array_like=True):
    """Values of one stage as bucket counts between `OVERHEAD_NS`."""

    stage: str
    counts: list[int]
    sum_ns: int


class Report(msgspec.Struct, gc=False, array_like=True, tag=True):
    """What a worker has counted in some turns of its event loop."""

    admitted: list[Admission]
    ended: list[Ending]
    counts: list[tuple[str, str, int]]  # what, its label, how often
    timings: list[Timing]
    lost: int = 0  # ended requests of which there was no room to tell
    cpu_ns: int = 0  # used since the last report


class Started(msgspec.Struct, gc=False, array_like=True, tag=True):
    """Whether a worker has begun to take requests: it has unless there are problems."""

    problems: list[str]


@dataclass(frozen=True)
class Rules:
    """The settings in force, and the edges into which gaps are counted."""

    settings: Settings
    icl_edges_ns: tuple[int, ...]


@dataclass(frozen=True)
class Leave:
    """Stop: let running requests finish first, or cut them."""

    drain: bool = field(default=True)


Upward = Report | Started
Downward = Rules | Leave

encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(Upward).decode


def dump(message: Downward) -> bytes:
    """Encode a message to a worker."""
    return pickle.dumps(message)


def load(message: bytes) -> Downward:
    """Decode a message of the supervisor's."""
    loaded: Downward = pickle.loads(message)  # noqa: S301 -- our own parent sent it
    return loaded
