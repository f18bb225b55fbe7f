"""What stands between a meter and the bytes: nothing that goes wrong in it harms a response.

No other file has an `except Exception`. Each catch is counted; it is logged once for each place
and kind, for a log that is written without an end would harm the bytes, too. The exception's
message is never logged: it may quote a stream.

What the data path calls of a meter consists of guarded steps and of nothing that can fail;
tests/integration/test_meter_faults.py lets everything else fail.
"""

from __future__ import annotations

import traceback
from abc import ABC, abstractmethod
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from .faults import MeterFault

if TYPE_CHECKING:
    from collections.abc import Callable

    from .judged import JudgedRequest, Observer
    from .ledger import Ledger

_log = structlog.get_logger()


class Guarded(ABC):
    """Something whose defects stay in it.

    Args:
        metrics: where they are counted.
    """

    __slots__ = ("_metrics",)

    def __init__(self, metrics: Ledger) -> None:
        self._metrics = metrics

    def _guard(self, step: Callable[..., object], *arguments: Any) -> None:
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
        """Count a defect, and give up what it concerns."""
        self._report(exc)
        try:
            self._give_up()
        except Exception:  # noqa: BLE001 -- a meter that cannot even stop
            return

    def _report(self, exc: Exception) -> None:
        place = traceback.extract_tb(exc.__traceback__)[-1]
        report_defect(type(exc).__name__, f"{Path(place.filename).name}:{place.lineno}")
        try:
            self._metrics.tap_error(MeterFault.INTERNAL)
        except Exception:  # noqa: BLE001 -- a count that cannot be taken
            return

    @abstractmethod
    def _give_up(self) -> None:
        """Let go of what can no longer be measured."""


class Meter(Guarded):
    """A guarded meter of one thing: its first defect ends it, and only that is counted."""

    __slots__ = ("_failed",)

    def __init__(self, metrics: Ledger) -> None:
        super().__init__(metrics)
        self._failed = False

    def _note(self, exc: Exception) -> None:
        if not self._failed:
            self._failed = True
            super()._note(exc)


class FeedMeter(Meter):
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


@lru_cache(maxsize=256)
def report_defect(error: str, place: str) -> None:
    """Log a defect the first time; how often it strikes is a metric."""
    _log.warning("the meter failed", error=error, place=place)
