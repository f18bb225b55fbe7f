"""Which trace a request belongs to, and what its caller calls it; pure.

A trace id becomes an exemplar only when its caller recorded the trace: an id that leads nowhere
helps nobody. (OpenTelemetry's `trace_based` exemplar filter does the same.)
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from .heads import find_header

if TYPE_CHECKING:
    from .heads import Headers

# W3C Trace Context, section 3.2: version, trace id, parent id, flags; later versions may go on.
# No version ff, no trace id of zeros alone; bit 0 of the flags says that the caller recorded it.
_TRACEPARENT = re.compile(
    rb"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f][13579bdf](?:-.*)?"
)
# What a log may repeat of a name that its caller chose.
_REQUEST_ID = re.compile(rb"[!-~]{1,128}")


def sampled_trace_id(headers: Headers) -> str:
    """Return the trace id of `traceparent`, empty when there is none or nobody recorded it."""
    found = _TRACEPARENT.fullmatch(find_header(headers, b"traceparent"))
    return found[1].decode() if found else ""


def request_id(headers: Headers) -> str:
    """Return `x-request-id`, empty when it is absent or not printable ASCII of sane length."""
    value = find_header(headers, b"x-request-id")
    return value.decode() if _REQUEST_ID.fullmatch(value) else ""
