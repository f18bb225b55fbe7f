"""HAProxy in http mode: without `http-no-delay` Nagle's algorithm would hold tokens back."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

from .peer import Peer, itself

if TYPE_CHECKING:
    from .peer import Site

NAME = "HAProxy"

_CONFIG = """\
global
    nbthread 1
    maxconn 8192
defaults
    mode http
    option http-no-delay
    http-reuse always
    timeout connect 5s
    timeout client 10m
    timeout server 10m
listen inference
    bind 127.0.0.1:{listen_port}
    server s1 127.0.0.1:{upstream_port} pool-max-conn 4096
"""


def _path() -> str | None:
    return shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin") or shutil.which("haproxy")


def _missing() -> str | None:
    return None if _path() else "haproxy is not installed"


def _version() -> str:
    shown = subprocess.run(
        [_path() or "haproxy", "-v"], capture_output=True, text=True, check=False
    )
    return shown.stdout.split()[2].partition("-")[0]


def _command(site: Site) -> list[str]:
    config = site.directory / "haproxy.cfg"
    config.write_text(
        _CONFIG.format(upstream_port=site.upstream_port, listen_port=site.listen_port)
    )
    return [_path() or "haproxy", "-db", "-f", str(config)]


PEER = Peer(NAME, _missing, _version, _command, itself)
