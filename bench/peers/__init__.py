"""The rows of the table: every proxy that can be measured, one `Peer` each.

A row says how to start the proxy, which of its processes do the work, and why it cannot
run here, if so. A new peer is one file and one row here; nothing else in the bench knows
any proxy by name except the report: its yardsticks nginx, plain aiohttp and Envoy, and the
two builds of the proxy itself, pure and compiled, of which the faster is judged.
"""

from __future__ import annotations

from . import envoy, haproxy, litellm, nginx, ours, router
from .peer import Peer, Site

DIRECT = "direct"
NGINX = nginx.NAME
ENVOY = envoy.NAME
LITELLM = litellm.NAME
PLAIN_AIOHTTP = ours.NAME_PLAIN
GOODPUT = ours.NAME
GOODPUT_COMPILED = ours.NAME_COMPILED


def _nothing() -> None:
    return None


PEERS = (
    Peer(DIRECT, _nothing, lambda: "", None, lambda _pid: []),
    nginx.PEER,
    haproxy.PEER,
    envoy.PEER,
    router.PEER,
    ours.PLAIN,
    ours.PURE,
    ours.COMPILED,
    litellm.PEER,
)

__all__ = ["DIRECT", "ENVOY", "GOODPUT", "GOODPUT_COMPILED", "LITELLM", "NGINX", "PEERS"]
__all__ += ["PLAIN_AIOHTTP", "Peer", "Site"]
