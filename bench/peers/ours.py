"""This proxy, as Python and compiled, and the shape that it replaces: plain aiohttp."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from bench import compiled
from bench.process import children

from .peer import Peer, itself, needs_package, package_version

if TYPE_CHECKING:
    from .peer import Site

NAME = "goodput-proxy"
NAME_COMPILED = "goodput-proxy compiled"
NAME_PLAIN = "plain aiohttp"


def _plain_command(site: Site) -> list[str]:
    ports = (str(site.upstream_port), str(site.listen_port))
    return [sys.executable, "-m", "bench.plain_aiohttp", *ports]


def _command(site: Site, *arguments: str) -> list[str]:
    return [
        *(sys.executable, "-m", "goodput_proxy", "serve"),
        *("--upstream", f"http://127.0.0.1:{site.upstream_port}"),
        *("--listen", f"127.0.0.1:{site.listen_port}"),
        *("--admin-listen", f"127.0.0.1:{site.admin_port}"),
        *arguments,
    ]


def _two_workers_command(site: Site) -> list[str]:
    return _command(site, "--workers=2")


def _find_workers(pid: int) -> list[int]:
    """Return what the supervisor's only child has forked."""
    return [worker for child in children(pid) for worker in children(child)]


def _compiled_command(site: Site) -> list[str]:
    variables = compiled.environment(compiled.build())
    return ["env", *(f"{k}={v}" for k, v in variables.items()), *_command(site)]


PLAIN = Peer(
    NAME_PLAIN, needs_package("aiohttp"), package_version("aiohttp"), _plain_command, itself
)
PURE = Peer(
    NAME,
    needs_package("goodput_proxy.__main__"),
    package_version("goodput-proxy"),
    _command,
    itself,
)
COMPILED = Peer(
    NAME_COMPILED, compiled.missing, package_version("goodput-proxy"), _compiled_command, itself
)
# Not in the table: one start for each, so that they are measured apart.
WORKERS = Peer("two workers", PURE.missing, PURE.version, _two_workers_command, _find_workers)
SUPERVISOR = Peer("their supervisor", PURE.missing, PURE.version, _two_workers_command, itself)
