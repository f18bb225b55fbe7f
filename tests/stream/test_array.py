"""A JSON array in pieces: its objects one by one, whatever stands inside them."""

from __future__ import annotations

from typing import Any

import pytest

from goodput_proxy.stream.array import ArrayFramer
from goodput_proxy.stream.framing import MAX_RECORD_BYTES, Record

END = Record(None, end=True)


def frame(*reads: bytes, cap: int = MAX_RECORD_BYTES) -> list[Record]:
    """Return all records of a body that arrives in these reads."""
    framer = ArrayFramer(cap)
    return [record for read in reads for record in framer.feed(read)] + framer.finish()


@pytest.mark.parametrize(
    ("body", "records"),
    [
        (b"", []),
        (b"[]", [END]),
        (b'[{"a":1}]', [Record(b'{"a":1}'), END]),
        (
            b'[{"a":1}\n,\r\n{"b":[{},[2]]}\n]\n',
            [Record(b'{"a":1}'), Record(b'{"b":[{},[2]]}'), END],
        ),
        (b'[{"a":"}]{["}]', [Record(b'{"a":"}]{["}'), END]),
        (b'[{"a":"\\"}]"}]', [Record(b'{"a":"\\"}]"}'), END]),
        (b'[{"a":"\\\\"}]', [Record(b'{"a":"\\\\"}'), END]),
        (b'{\n "error": {"code": 400}\n}', [Record(b'{\n "error": {"code": 400}\n}')]),
        (b'[{"a":1}', [Record(b'{"a":1}')]),
        (b'[{"a":1', []),
        (b'"lone string" , 1 [ ]', [END]),
        (b"}}}{}", [Record(b"{}")]),
        (b'[{"a":"\xff\x00"}', [Record(b'{"a":"\xff\x00"}')]),
    ],
)
def test_objects_are_found_by_their_depth(body: bytes, records: list[Record]) -> None:
    """Braces inside strings do not count; whole and byte by byte alike."""
    assert frame(body) == records
    assert frame(*(body[i : i + 1] for i in range(len(body)))) == records


def test_an_oversize_object_is_announced_and_skipped() -> None:
    """An object above the cap keeps its ends, and framing goes on behind it."""
    body = b'[{"a":1},{"b":"' + b"x" * 200 + b'"},{"c":3}]'
    for step in (1, 7, 1000):
        first, long, last, end = frame(
            *(body[i : i + step] for i in range(0, len(body), step)), cap=100
        )
        assert (first, last, end) == (Record(b'{"a":1}'), Record(b'{"c":3}'), END)
        assert (long.data, long.oversize) == (None, True)


def test_no_read_is_ever_taken_for_a_record() -> None:
    """A comma comes first, so the reader's short cut does not apply."""
    framer = ArrayFramer()
    framer.feed(b'[{"a":1}')

    assert not framer.idle


class Watched(bytes):
    """Bytes that know how many of them have been copied."""

    copied = 0

    def __getitem__(self, key: Any) -> Any:
        found = super().__getitem__(key)
        if isinstance(key, slice):
            self.copied += len(found)
        return found


@pytest.mark.parametrize(
    "body", [b"[" + b"{" * 9999 + b"}" * 9999, b"{" + b"{}" * 9999, b"{}" * 9999]
)
def test_each_byte_is_copied_once(body: bytes) -> None:
    """However objects are nested, the work is linear in the bytes."""
    watched = Watched(body)
    ArrayFramer().feed(watched)

    assert watched.copied <= len(body)
