"""Requests for another protocol, found wherever reads are cut."""

from __future__ import annotations

import pytest

from goodput_proxy.upgrades import UpgradeFinder, may_switch, split_protocols

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
    ("value", "protocols", "passed_on"),
    [
        (b"websocket", {b"websocket"}, True),
        (b"A/1,  b ", {b"a/1", b"b"}, True),
        (b"h2c", {b"h2c"}, False),
        (b"websocket, H2C", {b"websocket", b"h2c"}, False),
        (b"", {b""}, False),
    ],
)
def test_protocols(value: bytes, protocols: set[bytes], passed_on: bool) -> None:  # noqa: FBT001
    """HTTP/2 is never switched to."""
    assert split_protocols(value) == protocols
    assert may_switch(value) == passed_on
