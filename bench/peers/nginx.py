"""nginx with buffering off: the yardstick of a proxy that only passes bytes on."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

from bench.process import children

from .peer import Peer

if TYPE_CHECKING:
    from .peer import Site

NAME = "nginx"


def _path() -> str | None:
    return shutil.which("nginx", path="/usr/sbin:/usr/local/sbin") or shutil.which("nginx")


def _missing() -> str | None:
    return None if _path() else "nginx is not installed"


def _version() -> str:
    shown = subprocess.run([_path() or "nginx", "-v"], capture_output=True, text=True, check=False)
    return shown.stderr.strip().rpartition("/")[2]


# keepalive_requests: nginx closes a connection after 1000 requests by default, which
# would charge new connections to it alone.
_CONFIG = """\
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


def _command(site: Site) -> list[str]:
    config = site.directory / "nginx.conf"
    config.write_text(
        _CONFIG.format(
            directory=site.directory,
            upstream_port=site.upstream_port,
            listen_port=site.listen_port,
        )
    )
    return [
        *(_path() or "nginx", "-e", "stderr"),
        *("-p", str(site.directory), "-c", str(config)),
    ]


PEER = Peer(NAME, _missing, _version, _command, children)
