"""The parts of the full bench, in the order of the report: one file and one row each."""

from __future__ import annotations

from . import growth, idle, metering, saturation, scrapes, side, streams, workers
from .part import Context, Data, Part

PARTS = (
    side.PART,
    streams.PART,
    saturation.PART,
    metering.PART,
    idle.PART,
    growth.PART,
    scrapes.PART,
    workers.PART,
)

__all__ = ["PARTS", "Context", "Data", "Part"]
