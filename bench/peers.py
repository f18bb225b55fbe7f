"""The rows of the table: every proxy that can be measured, one `Peer` each.

A row says how to start the proxy, which of its processes do the work, and why it cannot
run here, if so. A new peer is one row and the functions it names; nothing else in the
bench knows any proxy by name except the report: its two yardsticks, nginx and plain aiohttp,
and the two builds of the proxy itself, pure and compiled, of which the faster is judged.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import shutil
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench import compiled
from bench.process import children

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

DIRECT = "direct"
NGINX = "nginx"
PLAIN_AIOHTTP = "plain aiohttp"
GOODPUT = "goodput-proxy"
GOODPUT_COMPILED = "goodput-proxy compiled"


@dataclass(frozen=True, slots=True)
class Site:
    """Where one start of a proxy lives."""

    upstream_port: int
    listen_port: int
    admin_port: int
    directory: Path
    """Empty, for the proxy's own files; removed afterwards."""


@dataclass(frozen=True, slots=True)
class Peer:
    """One proxy of the table."""

    name: str
    missing: Callable[[], str | None]
    """Why it cannot run here, None if it can."""
    version: Callable[[], str]
    command: Callable[[Site], list[str]] | None
    """How to start it in the foreground; None: the client goes straight upstream."""
    workers: Callable[[int], list[int]]
    """From the id of the started process to those whose CPU and memory count."""


def _itself(pid: int) -> list[int]:
    return [pid]


def _nothing() -> None:
    return None


def _needs_package(module: str) -> Callable[[], str | None]:
    def missing() -> str | None:
        try:
            found = importlib.util.find_spec(module) is not None
        except ModuleNotFoundError:  # not even its parent package
            found = False
        return None if found else f"no Python module {module} here"

    return missing


def _package_version(package: str) -> Callable[[], str]:
    def version() -> str:
        try:
            return importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            return "from the checkout"

    return version


# nginx ------------------------------------------------------------------------------


def _nginx_path() -> str | None:
    return shutil.which("nginx", path="/usr/sbin:/usr/local/sbin") or shutil.which("nginx")


def _nginx_missing() -> str | None:
    return None if _nginx_path() else "nginx is not installed"


def _nginx_version() -> str:
    shown = subprocess.run(
        [_nginx_path() or "nginx", "-v"], capture_output=True, text=True, check=False
    )
    return shown.stderr.strip().rpartition("/")[2]


# keepalive_requests: nginx closes a connection after 1000 requests by default, which
# would charge new connections to it alone.
_NGINX_CONFIG = """\
worker_processes 1;
daemon off;
pid {directory}/nginx.pid;
events {{ worker_connections 16384; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    keepalive_requests 1000000;
    upstream inference {{
        server 127.0.0.1:{upstream_port};
        keepalive 4096;
        keepalive_requests 1000000;
    }}
    server {{
        listen 127.0.0.1:{listen_port} backlog=4096;
        location / {{
            proxy_pass http://inference;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering off;
        }}
    }}
}}
"""


def _nginx_command(site: Site) -> list[str]:
    config = site.directory / "nginx.conf"
    config.write_text(
        _NGINX_CONFIG.format(
            directory=site.directory,
            upstream_port=site.upstream_port,
            listen_port=site.listen_port,
        )
    )
    return [
        *(_nginx_path() or "nginx", "-e", "stderr"),
        *("-p", str(site.directory), "-c", str(config)),
    ]


# plain aiohttp ----------------------------------------------------------------------


def _plain_aiohttp_command(site: Site) -> list[str]:
    ports = (str(site.upstream_port), str(site.listen_port))
    return [sys.executable, "-m", "bench.plain_aiohttp", *ports]


# goodput-proxy ----------------------------------------------------------------------


def _goodput_command(site: Site) -> list[str]:
    return [
        *(sys.executable, "-m", "goodput_proxy", "serve"),
        *("--upstream", f"http://127.0.0.1:{site.upstream_port}"),
        *("--listen", f"127.0.0.1:{site.listen_port}"),
        *("--admin-listen", f"127.0.0.1:{site.admin_port}"),
    ]


def _compiled_command(site: Site) -> list[str]:
    variables = compiled.environment(compiled.build())
    return ["env", *(f"{k}={v}" for k, v in variables.items()), *_goodput_command(site)]


PEERS = (
    Peer(DIRECT, _nothing, lambda: "", None, lambda _pid: []),
    Peer(NGINX, _nginx_missing, _nginx_version, _nginx_command, children),
    Peer(
        PLAIN_AIOHTTP,
        _needs_package("aiohttp"),
        _package_version("aiohttp"),
        _plain_aiohttp_command,
        _itself,
    ),
    Peer(
        GOODPUT,
        _needs_package("goodput_proxy.__main__"),
        _package_version("goodput-proxy"),
        _goodput_command,
        _itself,
    ),
    Peer(
        GOODPUT_COMPILED,
        compiled.missing,
        _package_version("goodput-proxy"),
        _compiled_command,
        _itself,
    ),
)
