"""Trace ids and request ids: taken as they should be, or not at all."""

from __future__ import annotations

import pytest

from goodput_proxy.trace import request_id, sampled_trace_id

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.mark.parametrize(
    ("traceparent", "expected"),
    [
        (f"00-{TRACE}-{PARENT}-01", TRACE),
        (f"00-{TRACE}-{PARENT}-03", TRACE),
        (f"00-{TRACE}-{PARENT}-00", ""),  # nobody recorded it
        (f"01-{TRACE}-{PARENT}-01-more", TRACE),  # a later version may say more
        (f"ff-{TRACE}-{PARENT}-01", ""),
        (f"00-{'0' * 32}-{PARENT}-01", ""),
        (f"00-{TRACE}-{'0' * 16}-01", ""),
        (f"00-{TRACE.upper()}-{PARENT}-01", ""),
        (f"00-{TRACE[1:]}-{PARENT}-01", ""),
        (f"00-{TRACE}-{PARENT}-01 ", ""),
        ("", ""),
    ],
)
def test_trace_ids(traceparent: str, expected: str) -> None:
    """The id of a valid and recorded trace is returned, of no other."""
    headers = [(b"Host", b"a"), (b"TraceParent", traceparent.encode())]
    assert sampled_trace_id(headers) == expected


def test_no_trace() -> None:
    """Most requests have none."""
    assert sampled_trace_id([]) == ""


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"a-1:2/3", "a-1:2/3"),
        (b"x" * 128, "x" * 128),
        (b"x" * 129, ""),
        (b"two words", ""),
        (b"\xff", ""),
        (b"", ""),
    ],
)
def test_request_ids(value: bytes, expected: str) -> None:
    """A log repeats only a printable name of sane length."""
    assert request_id([(b"X-Request-Id", value)]) == expected
