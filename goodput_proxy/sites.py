"""Opening a listener: where it is, with or without TLS, and what is wrong if it cannot be."""

from __future__ import annotations

import asyncio
import errno
import socket
from typing import TYPE_CHECKING, Any

from aiohttp import web

from .settings.sources import ConfigError
from .tls import TlsSite

if TYPE_CHECKING:
    from .address import Listen
    from .tls import Credentials

# Connections that wait to be accepted; where there is no room, a client tries again after a second.
# aiohttp's 128 is what arrives during a few milliseconds of a burst; the kernel has its own bound.
BACKLOG = 4096


async def open_site(
    runner: web.BaseRunner,
    address: Listen,
    field: str,
    tls: Credentials | None,
    *,
    handshake_s: float,
    shared: bool = False,
) -> str:
    """Open a listener and return its URL.

    Args:
        runner: of its server.
        address: where.
        field: the setting that says so.
        tls: what it shows to clients, if anything.
        handshake_s: seconds that a TLS handshake may take.
        shared: whether other processes listen there, too.

    Raises:
        ConfigError: when the address cannot be listened on.
    """
    await runner.setup()
    host, port, reuse_port = address.host, address.port, shared or None
    if tls is None:
        site = web.TCPSite(runner, host, port, reuse_port=reuse_port, backlog=BACKLOG)
    else:
        site = TlsSite(
            runner, host, port, tls.context, handshake_s, reuse_port=reuse_port, backlog=BACKLOG
        )
    try:
        await site.start()
    except (OSError, UnicodeError) as exc:
        raise cannot_listen(address, field, exc) from None
    return url_of(runner.addresses[0], tls=tls is not None)


def cannot_listen(address: Listen, field: str, error: OSError | UnicodeError) -> ConfigError:
    """Return what to say of an address that cannot be listened on."""
    if isinstance(error, OSError):
        # asyncio puts the address, which is named already, in front of the reason.
        reason = (error.strerror or str(error)).rpartition(": ")[2].lower()
        if error.errno == errno.EADDRINUSE:
            reason += f"; choose another with --{field.replace('_', '-')}"
    else:
        reason = "not a host name"
    return ConfigError([f"{field}: cannot listen on {address}: {reason}"])


def url_of(address: tuple[str, int], *, tls: bool) -> str:
    """Return the URL of a listener's socket."""
    host, port = address[:2]
    scheme = "https" if tls else "http"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


async def share_port(address: Listen, field: str) -> list[socket.socket]:
    """Take a port that workers are to share; who has it alone already keeps it.

    Raises:
        ConfigError: when it cannot be had.
    """
    ports: list[socket.socket] = []
    try:
        found = await asyncio.get_running_loop().getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        number = address.port
        for family, kind, protocol, _, place in dict.fromkeys(found):
            target = (place[0], number, *place[2:])
            if number:  # alone, to see whether another proxy shares it already
                with socket.socket(family, kind, protocol) as probe:
                    _bind(probe, target)
            port = socket.socket(family, kind, protocol)
            ports.append(port)
            port.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            _bind(port, target)
            number = port.getsockname()[1]
    except (OSError, UnicodeError) as error:
        for port in ports:
            port.close()
        raise cannot_listen(address, field, error) from None
    return ports


def _bind(port: socket.socket, target: tuple[Any, ...]) -> None:
    port.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if port.family == socket.AF_INET6:
        port.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    port.bind(target)
