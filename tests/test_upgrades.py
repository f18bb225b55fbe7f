"""Requests for another protocol, found wherever reads are cut."""

from __future__ import annotations

import pytest

from goodput_proxy.upgrades import UpgradeFinder, offered, was_asked_for

PLAIN = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
WISH = b"GET / HTTP/1.1\r\nHost: x\r\nuPGRADE: a\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n"


def find(data: bytes, cut: int) -> int:
    """Return where the first wish ends in data that arrives in two reads, 0 when there is none."""
    finder = UpgradeFinder()
    end = finder.find(data[:cut])
    if not end:
        end = finder.find(data[cut:])
        end += cut if end else 0
    return end


@pytest.mark.parametrize("before", [b"", PLAIN, b"\r\n" + PLAIN * 2])
def test_wherever_a_read_is_cut(before: bytes) -> None:
    """The head's end is found, and nothing behind it looked at."""
    data = before + WISH + b"early\r\n\r\n" + WISH

    assert {find(data, cut) for cut in range(len(data))} == {len(before + WISH)}


@pytest.mark.parametrize(
    "data", [b"", PLAIN, PLAIN + b"GET", POST + WISH, PLAIN.replace(b"Host", b"Upgraded")]
)
def test_without_a_wish(data: bytes) -> None:
    """A body is not looked into, and other names only look alike."""
    assert UpgradeFinder().find(data) == 0


def test_a_head_without_an_end() -> None:
    """What is kept of it is bounded."""
    finder = UpgradeFinder()
    for _ in range(100):
        assert finder.find(b"x" * 1000) == 0
    assert len(finder._begun) == 16 * 1024

    assert finder.find(b"\nUpgrade: a\r\n\r\n") == 15


@pytest.mark.parametrize(
    ("value", "passed_on"),
    [
        (b"websocket", b"websocket"),
        (b"A/1,  b ", b"A/1,  b "),
        (b"h2c", b""),
        (b"H2C,WebSocket", b"WebSocket"),
        (b"a, h2c , b,", b"a, b"),
        (b"", b""),
        (b",", b""),
    ],
)
def test_what_is_passed_on(value: bytes, passed_on: bytes) -> None:
    """HTTP/2 is never switched to; it is taken off the list, and the rest stands as it is."""
    assert offered(value) == passed_on


@pytest.mark.parametrize(
    ("answer", "value", "asked"),
    [
        (b"websocket", b"WebSocket", True),
        (b" B ", b"a/1, b", True),
        (b"other", b"websocket", False),
        (b"", b"websocket", False),
        (b"", b"", False),
        (b"h2c", b"h2c", False),
    ],
)
def test_what_was_asked_for(answer: bytes, value: bytes, asked: bool) -> None:  # noqa: FBT001
    """A server may choose from the list, and nothing else."""
    assert was_asked_for(answer, value) == asked
