"""What stands between a meter and the bytes: nothing that goes wrong in it harms a response.

No other file has an `except Exception`; each catch is counted and logged, by place
and kind, never with the exception's message, which may quote a stream.
"""

from __future__ import annotations

import traceback
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from .faults import MeterFault

if TYPE_CHECKING:
    from collections.abc import Callable

    from .judged import JudgedRequest, Observer
    from .metrics import Metrics

_log = structlog.get_logger()


class Guarded(ABC):
    """A meter whose defects stay in it.

    Args:
        metrics: where they are counted.
    """

    __slots__ = ("_metrics",)

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def _guard(self, step: Callable[..., None], *arguments: Any) -> None:
        """Take a step."""
        try:
            step(*arguments)
        except Exception as exc:  # noqa: BLE001 -- no defect of the meter harms a response
            self._note(exc)

    def _tell(self, observers: tuple[Observer, ...], judged: JudgedRequest) -> None:
        """Tell each observer of a request; one that fails concerns nobody else."""
        for observe in observers:
            try:
                observe(judged)
            except Exception as exc:  # noqa: BLE001 -- as above
                self._report(exc)

    def _note(self, exc: Exception) -> None:
        self._give_up()
        self._report(exc)

    def _report(self, exc: Exception) -> None:
        self._metrics.tap_error(MeterFault.INTERNAL)
        place = traceback.extract_tb(exc.__traceback__)[-1]
        _log.warning(
            "the meter failed",
            error=type(exc).__name__,
            place=f"{Path(place.filename).name}:{place.lineno}",
        )

    @abstractmethod
    def _give_up(self) -> None:
        """Measure no further than the data path does."""


class GuardedFeed(Guarded):
    """A guarded meter that is shown every token."""

    __slots__ = ()

    def feed(self, data: bytes, now_ns: int) -> bool:
        """Show the meter bytes that were read at `now_ns`; return what it answers, else false.

        It is `_guard` without the frame and the tuple of arguments, which cost a token dearly.
        """
        try:
            return self._take(data, now_ns)
        except Exception as exc:  # noqa: BLE001 -- as above
            self._note(exc)
            return False

    @abstractmethod
    def _take(self, data: bytes, now_ns: int) -> bool:
        """Take bytes; what is returned is the meter's own business."""
