"""A record that has begun: whole up to the cap, its two ends above it."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goodput_proxy.stream.framing import HEAD_BYTES, TAIL_BYTES, PartialRecord, Record


@pytest.mark.parametrize("pieces", [[b"abc"], [b"a", b"bc"], [b"a", b"b", b"c", b""]])
def test_pieces_make_a_record(pieces: list[bytes]) -> None:
    """A record is its pieces; nothing of it is left for the next."""
    partial = PartialRecord(3)
    for _ in range(2):
        *first, last = pieces
        for piece in first:
            partial.add(piece)
        assert bool(partial) is bool(first)
        assert partial.end(last) == Record(b"abc")
        assert not partial


def test_both_ends_of_an_oversize_record_are_left() -> None:
    """The head says what it is, the tail how it ended."""
    partial = PartialRecord(8000)
    partial.add(b"h" * HEAD_BYTES + b"-" * 9000)

    record = partial.end(b"t" * TAIL_BYTES)
    assert (record.data, record.oversize) == (None, True)
    assert record.head == b"h" * HEAD_BYTES
    assert record.tail == b"t" * TAIL_BYTES
    assert partial.end(b"next") == Record(b"next")


@given(
    st.integers(1, 6000),
    st.integers(0, 6000),
    st.lists(st.integers(0, 6000), max_size=6),
)
def test_ends_do_not_depend_on_the_cuts(max_bytes: int, size: int, cuts: list[int]) -> None:
    """What is left of a record is the same however it came, also under a tiny cap."""
    data = bytes(i % 251 for i in range(size))
    edges = sorted({0, size, *(c for c in cuts if c < size)})
    partial = PartialRecord(max_bytes)
    for begin, end in pairwise(edges):
        partial.add(data[begin:end])
        assert len(partial._kept) <= max(max_bytes, TAIL_BYTES)

    assert partial.end(b"") == PartialRecord(max_bytes).end(data)
