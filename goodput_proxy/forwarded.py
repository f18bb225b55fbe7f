"""`X-Forwarded-*`: who asked, how and for whom, told to the inference server; pure.

Off unless a setting asks for it, since a proxy that adds headers is not transparent. The client's
address is appended to `X-Forwarded-For`, as every hop does. `X-Forwarded-Proto` and
`X-Forwarded-Host` are added only where they are absent: the first proxy on the way knows what the
client asked for, a sidecar behind it does not. Nothing here makes the headers trustworthy; whoever
reaches the proxy may send some of his own.
"""

from __future__ import annotations

from dataclasses import dataclass

_FOR = b"x-forwarded-for"
_PROTO = b"x-forwarded-proto"
_HOST = b"x-forwarded-host"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a request came from."""

    address: bytes
    scheme: bytes


def add_origin(headers: list[tuple[bytes, bytes]], origin: Origin) -> list[tuple[bytes, bytes]]:
    """Return the headers of a request with those about its origin behind them.

    They must have been stripped of what concerns one connection only: a client's
    `Connection: X-Forwarded-For` takes away what it has sent itself, and nothing else.
    """
    first = {name.lower(): value for name, value in reversed(headers)}
    hops = [value for name, value in headers if name.lower() == _FOR]
    added = [(b"X-Forwarded-For", b", ".join([*hops, origin.address]))]
    if _PROTO not in first:
        added.append((b"X-Forwarded-Proto", origin.scheme))
    if _HOST not in first and first.get(b"host"):
        added.append((b"X-Forwarded-Host", first[b"host"]))
    return [header for header in headers if header[0].lower() != _FOR] + added
