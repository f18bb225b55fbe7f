"""File descriptors: how many connections they allow.

A client's connection may need a second descriptor, for the server. When none is left, nothing can
be accepted or dialled, not even by the admin listener: so there are never more connections than
descriptors allow, and some are kept back.
"""

from __future__ import annotations

import contextlib
import resource

_PER_CONNECTION = 2
# Of the process itself (about 20), of those who scrape and probe, and of connections that are
# being turned away.
_KEPT_BACK = 64


def raise_limit(connections: int) -> None:
    """Let the process have the descriptors that so many connections need, as far as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = _PER_CONNECTION * connections + _KEPT_BACK
    if hard != resource.RLIM_INFINITY:
        needed = min(needed, hard)
    if soft != resource.RLIM_INFINITY and soft < needed:
        with contextlib.suppress(OSError, ValueError):  # macOS has a limit below the hard one
            resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def affordable_connections() -> int:
    """Return how many connections the process has descriptors for, at least one."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        soft = 2**31
    return max(1, (soft - _KEPT_BACK) // _PER_CONNECTION)
