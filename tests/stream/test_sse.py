"""Framing: any legal spelling, any split, bounded memory, never an exception."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goodput_proxy.stream.framing import HEAD_BYTES, MAX_RECORD_BYTES, TAIL_BYTES, Record
from goodput_proxy.stream.sse import SseFramer

DATA_A_B = [Record(b"a"), Record(b"b")]


def frame(*reads: bytes, cap: int = MAX_RECORD_BYTES) -> list[Record]:
    """Return all records of a body that arrives in these reads."""
    framer = SseFramer(cap)
    records = [record for read in reads for record in framer.feed(read)]
    return records + framer.finish()


@pytest.mark.parametrize(
    ("body", "records"),
    [
        (b"", []),
        (b"data: a\n\n", [Record(b"a")]),
        (b"data: a\n\ndata: b\n\n", DATA_A_B),
        (b"data: a\r\n\r\ndata: b\r\n\r\n", DATA_A_B),
        (b"data: a\r\rdata: b\r\r", DATA_A_B),
        (b"data: a\r\n\ndata: b\n\r\n", DATA_A_B),
        (b"data:a\n\ndata: b\n\n", DATA_A_B),
        (b"data: a \n\n", [Record(b"a ")]),
        (b"data:  a\n\n", [Record(b" a")]),
        (b"\xef\xbb\xbfdata: a\n\n", [Record(b"a")]),
        (b"data: a\n\n\xef\xbb\xbfdata: b\n\n", [Record(b"a")]),
        (b"\n\ndata: a\n\n\n\n\ndata: b\n\n", DATA_A_B),
        (b": ping\n\ndata: a\n\n:\n\n", [Record(b"a")]),
        (b": hi\nretry: 3000\nid: 1\n\ndata: a\n\n", [Record(b"a")]),
        (b"data: a\ndata: b\n\n", [Record(b"a\nb")]),
        (b"data\n\n", [Record(b"")]),
        (b"data:\n\n", [Record(b"")]),
        (b"event: x\ndata: a\n\n", [Record(b"a", b"x")]),
        (b"data: a\nevent:x\n\n", [Record(b"a", b"x")]),
        (b"event: x\n\n", []),
        (b"event: error\n: lost\n\n", [Record(None, b"error")]),
        (b"data: a\n\ndata: b\n", DATA_A_B),
        (b"data: a\n\ndata: b", DATA_A_B),
        (b"nonsense\n\n\x00\xff\n\n", []),
    ],
)
def test_spellings(body: bytes, records: list[Record]) -> None:
    """Every legal spelling gives its records, whole and byte by byte."""
    assert records == frame(body)
    assert records == frame(*(body[i : i + 1] for i in range(len(body))))


@given(
    st.lists(st.sampled_from([b"data: x", b"data:y", b"event: error", b":c", b"\xef\xbb\xbf"])),
    st.lists(st.sampled_from([b"\n", b"\r\n", b"\r", b"\n\n", b"\r\n\r\n"]), min_size=1),
    st.data(),
)
def test_any_split_gives_the_same_records(
    lines: list[bytes], ends: list[bytes], data: st.DataObject
) -> None:
    """Where the network cuts a stream changes nothing."""
    body = b"".join(line + ends[i % len(ends)] for i, line in enumerate(lines))
    cuts = sorted(data.draw(st.sets(st.integers(0, len(body)))))
    reads = [body[a:b] for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True)]

    assert frame(body) == frame(*reads)


@pytest.mark.parametrize("body", [b"event: x\ndata: a\n\n", b"data: a\r\n\r\ndata: b\n\n"])
def test_two_reads(body: bytes) -> None:
    """Wherever the only cut is, also within the name of a field, the records are the same."""
    for at in range(1, len(body)):
        assert frame(body[:at], body[at:]) == frame(body), body[:at]


def test_a_read_of_nothing_changes_nothing() -> None:
    """A line end that is cut in two is one, also with an empty read in between."""
    assert frame(b"data: a\r", b"", b"\ndata: b\r", b"", b"\n\r\n") == [Record(b"a\nb")]


@pytest.mark.parametrize("step", [1, 7, 1000, 100_000])
def test_an_oversize_record_keeps_its_name_and_its_ends(step: int) -> None:
    """The head is the payload's beginning without its field, the tail the block's end."""
    payload = b'{"type":"x",' + bytes(range(32, 127)) * 100 + b'"end":1}'
    body = b"\xef\xbb\xbfid: 7\nevent: x\ndata: " + payload + b"\n\n"

    (record,) = frame(*(body[i : i + step] for i in range(0, len(body), step)), cap=5000)
    assert (record.event, record.data, record.oversize) == (b"x", None, True)
    assert 900 < len(record.head) <= HEAD_BYTES
    assert payload.startswith(record.head)
    assert payload[-TAIL_BYTES:] == record.tail


def test_an_oversize_comment_has_no_ends() -> None:
    """What is no field says nothing."""
    assert frame(b": " + b"x" * 200 + b"\n\n", cap=100) == [Record(None, oversize=True)]


@pytest.mark.parametrize("step", [1, 7, 64, 10_000])
def test_an_oversize_record_is_announced_and_skipped(step: int) -> None:
    """A record above the cap loses its data, however it is cut, and framing goes on."""
    body = b"data: a\n\ndata: " + b"x" * 300 + b"\n\ndata: b\n\n"
    reads = [body[i : i + step] for i in range(0, len(body), step)]

    first, long, last = frame(*reads, cap=100)
    assert (first, last) == (Record(b"a"), Record(b"b"))
    assert (long.data, long.oversize) == (None, True)


def test_a_record_as_large_as_the_cap() -> None:
    """The blank line is no part of a record, wherever a read cuts it."""
    block = b"data: " + b"x" * 94

    for cut in range(len(block) + 3):
        whole = block + b"\n\n"
        assert frame(whole[:cut], whole[cut:], cap=100) == [Record(block[6:])]


def test_an_oversize_record_that_never_ends_is_announced_at_the_end() -> None:
    """A line without an end is one oversize record."""
    assert [Record(None, oversize=True)] == frame(*[b"x" * 50] * 10, cap=100)


def test_an_endless_line_is_not_kept() -> None:
    """What a framer holds stays below its cap, whatever is sent."""
    framer = SseFramer(1000)
    for _ in range(100):
        framer.feed(b"y" * 999)

    assert len(framer._pending) <= max(1000, TAIL_BYTES + 1)


def test_empty_records_are_cheap() -> None:
    """10^5 empty blocks in one read are framed at once."""
    assert len(frame(b"data:\n\n" * 100_000)) == 100_000
