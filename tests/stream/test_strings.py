"""Where a JSON string ends, wherever a read cuts it."""

from __future__ import annotations

import pytest

from goodput_proxy.stream.strings import StringSkipper


def end_of(*reads: bytes) -> int | None:
    """Return where in the body the string ends whose quote has been seen, None if nowhere."""
    skipper, passed = StringSkipper(), 0
    skipper.inside = True
    for data in reads:
        at = skipper.skip(data, 0)
        if not skipper.inside:
            return passed + at
        assert at == len(data)
        passed += len(data)
    return None


@pytest.mark.parametrize(
    ("body", "end"),
    [
        (b'"rest', 1),
        (b'abc"rest', 4),
        (b'a\\"b"rest', 5),
        (b'a\\\\"rest', 4),
        (b'\\\\\\""rest', 5),
        (b'\\n\\u0022"', 9),
        (b"a\nb\x00\xff", None),
        (b'\\"', None),
        (b"\\", None),
        (b"", None),
    ],
)
def test_escaped_quotes_do_not_end_a_string(body: bytes, end: int | None) -> None:
    """A quote behind an odd number of backslashes is text, under every cut."""
    assert end_of(body) == end
    for i in range(len(body) + 1):
        assert end_of(body[:i], b"", body[i:]) == end


def test_one_string_after_the_other() -> None:
    """A new string begins without memory of the last."""
    skipper = StringSkipper()
    skipper.inside = True
    assert skipper.skip(b'\\a"x"b"', 0) == 3
    skipper.inside = True

    assert skipper.skip(b'\\a"x"b"', 5) == 7
    assert not skipper.inside
