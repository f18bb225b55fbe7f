"""What successive records of a stream have in common, learned from two of them.

Most records of a stream differ from the one before in very little: the text of the token, a
sequence number, a time, a counter. Two records that say the same are compared scalar by scalar;
where they differ there is a hole, everything else is literal. A read that has the same bytes
around the holes, and in them what JSON allows, says the same again, and needs no framing and no
JSON parser.

The short cut is exact, not a guess, because of what may be in a hole: a non-empty string without
an escape under a name that is no label, or a number. Nothing a dialect says depends on such a
string but that it is there, and on no number but choice and counter. The choice cannot vary,
since the two records would have said different things; the counter has to be found, and to grow.
All else takes the long way: the first token, labels, finish reasons, totals at the end, errors,
escapes, and records that a read has cut.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from .events import CounterEvent, EndsAtCloseEvent, Event, TokenEvent, UsageEvent

# No template is made of longer records, so that what matches stays below any cap on records.
MAX_TEMPLATE_BYTES: Final = 4 * 1024
_MAX_TEXT_BYTES: Final = 1024
_MAX_NUMBER_BYTES: Final = 32  # a float that Python spells in full has up to 24
_MAX_HOLES: Final = 12

# A JSON string or number (RFC 8259, sections 6 and 7).
_SCALAR: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"|-?[0-9]++(?:\.[0-9]++)?(?:[eE][+-]?[0-9]++)?')
_NUMBER: Final = re.compile(rb"-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?(?:[eE][+-]?[0-9]++)?")
_IS_NAME: Final = re.compile(rb"\s*:")
# What a JSON string has only escaped, or as its end.
_NOT_PLAIN: Final = re.compile(rb'["\\\x00-\x1f]')
# Leaves the rest of ASCII as it is and nothing else: cheaper than a search, enough for most texts.
_PLAIN_ASCII: Final = bytes(
    byte if byte < 0x80 and not _NOT_PLAIN.match(bytes((byte,))) else ord("a")
    for byte in range(256)
)
# Names whose strings decide what a record is; they never vary within a template.
_LABELS: Final = frozenset(
    (
        *(b"type", b"role", b"object", b"status", b"event", b"error", b"code", b"name"),
        *(b"finish_reason", b"finishReason", b"stop_reason", b"stop_type", b"done_reason"),
        *(b"signature", b"thoughtSignature", b"id", b"format", b"expires_at", b"citation"),
    )
)

_TEXT, _ANY_NUMBER, _COUNTER = range(3)  # kinds of holes


class Template:
    """Literal pieces with holes between them, and what a record of this form says.

    Args:
        head: the bytes before the first hole.
        holes: the kind of each hole, and the bytes behind it.
        events: what the newest record of the form said.
        count: its counter, -1 when the form has none.
    """

    __slots__ = ("_choice", "_count", "_events", "_head", "_holes")

    def __init__(
        self, head: bytes, holes: list[tuple[int, bytes]], events: list[Event], count: int
    ) -> None:
        self._head = head
        self._holes = holes
        self._events = events
        self._count = count
        self._choice = next(e.choice for e in events if isinstance(e, TokenEvent))

    def matches(self, data: bytes) -> bool:
        """Return whether a read is one record of this form, and note its counter."""
        if not data.startswith(self._head):
            return False
        at = len(self._head)
        count = self._count
        for kind, piece in self._holes:
            if kind == _TEXT:
                end = data.find(b'"', at)
                if not at < end <= at + _MAX_TEXT_BYTES or not data.startswith(piece, end):
                    return False
                text = data[at:end]
                if text.translate(_PLAIN_ASCII) != text and not _is_plain(text):
                    return False
            else:
                end = data.find(piece, at, at + _MAX_NUMBER_BYTES + len(piece))
                digits = data[at:end] if end >= 0 else b""
                if not _is_number(digits):
                    return False
                if kind == _COUNTER:
                    if not digits.isdigit() or int(digits) <= count:
                        return False
                    count = int(digits)
            at = end + len(piece)
        if at != len(data):
            return False
        self._count = count
        return True

    def follow(self, events: list[Event]) -> None:
        """Take note of counters that records of another form have stated."""
        if self._count < 0:
            return
        for event in events:
            if isinstance(event, UsageEvent) or (
                isinstance(event, CounterEvent) and event.choice == self._choice
            ):
                self._count = max(event.output_tokens or 0, 0)

    @property
    def events(self) -> list[Event]:
        """What the newest record that matched has said."""
        if self._count < 0:
            return self._events
        return [_restate(event, self._count) for event in self._events]


def learn(
    first: bytes, first_said: list[Event], second: bytes, said: list[Event]
) -> Template | None:
    """Return the template of two whole records that said the same, None when there is none.

    Args:
        first: one read that was one whole record.
        first_said: what it said.
        second: the next such read.
        said: what that said.
    """
    counts = _compare(first_said, said)
    holes = _find_holes(first, second) if counts is not None else None
    if counts is None or holes is None or len(holes) > _MAX_HOLES:
        return None
    edges = [0, *(edge for begin, end, _ in holes for edge in (begin, end)), len(second)]
    head, *pieces = (second[a:b] for a, b in zip(edges[::2], edges[1::2], strict=True))
    before, count = counts
    kinds = [
        _TEXT if old is None else _COUNTER if (old, second[begin:end]) == counts else _ANY_NUMBER
        for begin, end, old in holes
    ]
    if before != count and kinds.count(_COUNTER) != 1:
        return None  # the counter is not there to be seen, or cannot be told from other numbers
    state = int(count) if before != count else -1
    return Template(head, list(zip(kinds, pieces, strict=True)), said, state)


def _find_holes(first: bytes, second: bytes) -> list[tuple[int, int, bytes | None]] | None:
    """Return where the second record differs, and the number that stood there in the first.

    The number is None where a text stood. None when they differ in more than may vary.
    """
    holes: list[tuple[int, int, bytes | None]] = []
    name = b""
    before = end = 0  # where the last scalar ended, in either record
    others = _SCALAR.finditer(first)
    for found in _SCALAR.finditer(second):
        other = next(others, None)
        if other is None or first[before : other.start()] != second[end : found.start()]:
            return None
        before, end = other.end(), found.end()
        old, new = other[0], found[0]
        is_text = new.startswith(b'"')
        if is_text and _IS_NAME.match(second, end):
            name = new[1:-1]
            if old != new:
                return None
        elif old != new:
            if is_text != old.startswith(b'"') or (is_text and name in _LABELS):
                return None
            inset = 1 if is_text else 0  # the quotes are literal
            holes.append((found.start() + inset, end - inset, None if is_text else old))
    if next(others, None) is not None or first[before:] != second[end:]:
        return None
    return holes


def _compare(first: list[Event], second: list[Event]) -> tuple[bytes, bytes] | None:
    """Return the counters of two records that said the same otherwise, None when they did not.

    Records that only repeat their counter, or have none, give the same twice.
    """
    if len(first) != len(second) or not first:
        return None
    tokens = 0
    counts = (b"", b"")
    for old, new in zip(first, second, strict=True):
        if isinstance(new, TokenEvent):
            tokens += not new.hidden
        elif not isinstance(new, CounterEvent | UsageEvent | EndsAtCloseEvent):
            return None
        if old == new:
            continue
        if not (
            isinstance(new, CounterEvent | UsageEvent)
            and isinstance(old, CounterEvent | UsageEvent)
            and old.output_tokens is not None
            and new.output_tokens is not None
            and _restate(old, new.output_tokens) == new
            and counts == (b"", b"")
        ):
            return None
        counts = (b"%d" % old.output_tokens, b"%d" % new.output_tokens)
    return counts if tokens == 1 else None


def _restate(event: Event, count: int) -> Event:
    if isinstance(event, CounterEvent | UsageEvent):
        return msgspec.structs.replace(event, output_tokens=count)
    return event


def _is_number(digits: bytes) -> bool:
    """Return whether this is a JSON number."""
    if digits.isdigit():  # as most are
        return len(digits) == 1 or not digits.startswith(b"0")
    return _NUMBER.fullmatch(digits) is not None


def _is_plain(text: bytes) -> bool:
    """Return whether this may stand in a JSON string as it is."""
    if _NOT_PLAIN.search(text):
        return False
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True
