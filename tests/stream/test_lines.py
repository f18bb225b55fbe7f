"""Lines of JSON: any line end, any split, the last line without one."""

from __future__ import annotations

import pytest

from goodput_proxy.stream.framing import MAX_RECORD_BYTES, Record
from goodput_proxy.stream.lines import LineFramer

A_B = [Record(b'{"a":1}'), Record(b'{"b":2}')]


def frame(*reads: bytes, cap: int = MAX_RECORD_BYTES) -> list[Record]:
    """Return all records of a body that arrives in these reads."""
    framer = LineFramer(cap)
    return [record for read in reads for record in framer.feed(read)] + framer.finish()


@pytest.mark.parametrize(
    ("body", "records"),
    [
        (b"", []),
        (b'{"a":1}\n{"b":2}\n', A_B),
        (b'{"a":1}\n{"b":2}', A_B),
        (b'{"a":1}\r\n{"b":2}\r\n', A_B),
        (b'\n\n{"a":1}\n \n\t\r\n{"b":2}\n\n', A_B),
        (b' {"a":1} \n{"b":2}', A_B),
        (b"\x00\xff\n", [Record(b"\x00\xff")]),
        (b'{"a":"\\n"}\n', [Record(b'{"a":"\\n"}')]),
    ],
)
def test_spellings(body: bytes, records: list[Record]) -> None:
    """Every spelling gives its records, whole and byte by byte."""
    assert frame(body) == records
    assert frame(*(body[i : i + 1] for i in range(len(body)))) == records


def test_an_oversize_line_is_announced_and_skipped() -> None:
    """A line above the cap keeps its ends, and framing goes on behind it."""
    first, long, last = frame(b"a\n" + b"x" * 200 + b"\nb\n", cap=100)

    assert (first, last) == (Record(b"a"), Record(b"b"))
    assert (long.data, long.oversize) == (None, True)


def test_a_line_as_large_as_the_cap() -> None:
    """The line end is no part of a line."""
    assert frame(b"x" * 100 + b"\n", cap=100) == [Record(b"x" * 100)]


def test_idle_between_lines_only() -> None:
    """A read may be taken for a whole record when nothing of another has come."""
    framer = LineFramer()
    idle = [framer.idle]
    for data in (b"a\n", b"b", b"\n"):
        framer.feed(data)
        idle.append(framer.idle)

    assert idle == [False, True, False, True]  # the first byte of all may be anything
