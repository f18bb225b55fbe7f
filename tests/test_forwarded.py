"""Who asked, and how: what a proxy tells of the client, when it is told to."""

from __future__ import annotations

from goodput_proxy.forwarded import Origin, add_origin

ORIGIN = Origin(b"2001:db8::1", b"http")
HOST = (b"Host", b"x:1")


def test_nothing_was_told_before() -> None:
    """All three are added, behind everything else."""
    assert add_origin([HOST, (b"A", b"1")], ORIGIN) == [
        HOST,
        (b"A", b"1"),
        (b"X-Forwarded-For", b"2001:db8::1"),
        (b"X-Forwarded-Proto", b"http"),
        (b"X-Forwarded-Host", b"x:1"),
    ]


def test_what_others_have_told_is_kept() -> None:
    """The address is appended, to all lines as one list; the other two say what was asked first."""
    before = [
        (b"x-forwarded-for", b"a, b"),
        (b"X-Forwarded-Proto", b"https"),
        HOST,
        (b"X-FORWARDED-HOST", b"y"),
        (b"X-Forwarded-For", b"c"),
    ]

    assert add_origin(before, ORIGIN) == [
        *before[1:4],
        (b"X-Forwarded-For", b"a, b, c, 2001:db8::1"),
    ]


def test_a_request_without_a_host() -> None:
    """What is not known is not told."""
    assert add_origin([], ORIGIN) == [
        (b"X-Forwarded-For", b"2001:db8::1"),
        (b"X-Forwarded-Proto", b"http"),
    ]
