"""Bounded copies of bodies: whole, as an outline, as a beginning, or nothing."""

from __future__ import annotations

import json

import pytest

from goodput_proxy.body import BodyCopy, RequestBody

KIB = 1024
MAX = 500 * KIB


def taken(*pieces: bytes, max_bytes: int = MAX) -> bytes:
    """Return what is kept of a request's body that comes in these pieces."""
    body = RequestBody(max_bytes)
    for piece in pieces:
        body.add(piece)
    assert body.size == sum(map(len, pieces))
    return body.take()


def in_pieces(body: bytes, size: int) -> list[bytes]:
    """Return a body in pieces of a size."""
    return [body[i : i + size] for i in range(0, len(body), size)]


@pytest.mark.parametrize(
    ("chunks", "overflowed", "copy"),
    [
        ([], False, b""),
        ([b"abc"], False, b"abc"),
        ([b"abc", b"def"], False, b"abcdef"),
        ([b"abc", b"def", b"g"], True, b""),
        ([b"abcdefg", b"h"], True, b""),
    ],
)
def test_a_copy_is_whole_or_empty(chunks: list[bytes], overflowed: bool, copy: bytes) -> None:  # noqa: FBT001
    """Never a part; and what was taken is let go."""
    body = BodyCopy(6)
    for chunk in chunks:
        body.add(chunk)

    assert body.overflowed == overflowed
    assert body.take() == copy
    assert body.take() == b""


def test_a_short_body_is_kept_whole() -> None:
    """JSON or not, up to 64 KiB."""
    body = b"x" * 64 * KIB

    assert taken(body) == body
    assert taken(*in_pieces(body, 1000)) == body
    assert taken() == b""


@pytest.mark.parametrize("size", [1000, 64 * KIB, MAX])
def test_a_long_json_body_is_kept_as_its_outline(size: int) -> None:
    """What it asks for is known, wherever in the body that stands."""
    fields = {"prompt": "x" * 100 * KIB, "messages": ["y" * 100 * KIB], "model": "m"}
    body = b" " + json.dumps(fields).encode()

    assert json.loads(taken(*in_pieces(body, size))) == {"prompt": "", "messages": [], "model": "m"}


@pytest.mark.parametrize("size", [1000, 64 * KIB, MAX])
def test_a_long_form_is_kept_by_its_beginning(size: int) -> None:
    """Fields stand before the file."""
    body = b"--b\r\n" + bytes(range(256)) * KIB

    assert taken(*in_pieces(body, size)) == body[: 8 * KIB]


@pytest.mark.parametrize("begin", [b'{"model":"m","prompt":"', b"--b\r\n"])
def test_nothing_is_known_of_a_body_above_the_bound(begin: bytes) -> None:
    """However far it had come."""
    body = begin + b"x" * 200 * KIB

    assert taken(*in_pieces(body, 1000), max_bytes=100 * KIB) == b""
    assert taken(*in_pieces(body, 1000), max_bytes=KIB) == b""
    assert taken(body, max_bytes=KIB) == b""
