"""The bytes of one streamed response in, events out: a framer, a dialect, and a short cut.

A read that looks like those before it is known by its template (see `template.py`), which costs
a fraction of framing and decoding it. Everything else takes the long way. `matches` is asked
first, so that of a read that does, nothing has to be kept but its time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .template import MAX_TEMPLATE_BYTES, Template, learn

if TYPE_CHECKING:
    from .dialect import Dialect
    from .events import Event
    from .framing import Framer

# A text with an escape is no reason to look for another template; so many in a row are.
_TOLERANCE: Final = 3
# Choices that take turns make templates that never match again, or none: after so many attempts
# in a row there are no more, until one matches.
_PATIENCE: Final = 8


class StreamReader:
    """Read a streamed response."""

    __slots__ = (
        *("_dialect", "_framer", "_last", "_last_said", "_matched", "_misses", "_patience"),
        *("_ready", "_template"),
    )

    def __init__(self, framer: Framer, dialect: Dialect) -> None:
        self._framer = framer
        self._dialect = dialect
        self._template: Template | None = None
        self._ready = False  # there is a template, and the next byte begins a record
        self._matched: bytes | None = None  # the newest read, if it matched
        self._misses = 0  # whole records that did not match, in a row
        self._patience = _PATIENCE
        self._last = b""  # the newest whole record that was read, and what it said
        self._last_said: list[Event] = []

    @property
    def events(self) -> list[Event]:
        """What the newest read that matched has said; those before it only differ in counters."""
        return self._template.events if self._template is not None else []

    def matches(self, data: bytes) -> bool:
        """Return whether a read says what those before it said.

        Such a read is done with: it says `events`. Every other one has to be read.
        """
        if not (self._ready and self._template is not None and self._template.matches(data)):
            return False
        self._matched = data
        return True

    def read(self, data: bytes) -> list[Event]:
        """Return what a read completes."""
        if self.matches(data):
            return self.events
        self._catch_up()
        whole = self._framer.idle
        records = self._framer.feed(data)
        if len(records) == 1:
            events = self._dialect.read(records[0])
        else:
            events = [event for record in records for event in self._dialect.read(record)]
        idle = self._framer.idle
        if self._template is not None:
            self._template.follow(events)
        if whole and idle and len(records) == 1 and len(data) <= MAX_TEMPLATE_BYTES:
            self._learn(data, events)
        self._ready = idle and self._template is not None
        return events

    def finish(self) -> list[Event]:
        """Return what the clean end of the body completes."""
        self._catch_up()
        return [event for r in self._framer.finish() for event in self._dialect.read(r)]

    def _catch_up(self) -> None:
        """Show the dialect the newest record that it was spared: it may remember counters."""
        if self._matched is None:
            return
        for record in self._framer.feed(self._matched):
            self._dialect.read(record)
        self._matched = None
        self._misses = 0
        self._patience = _PATIENCE

    def _learn(self, data: bytes, events: list[Event]) -> None:
        self._misses += 1
        if self._patience and (self._template is None or self._misses > _TOLERANCE):
            self._patience -= 1
            template = learn(self._last, self._last_said, data, events)
            if template is not None:
                self._template, self._misses = template, 0
        self._last, self._last_said = data, events
