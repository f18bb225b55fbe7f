"""nginx and HAProxy in front of the same upstream, set up to change as little as they can."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import socket
import subprocess
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.conftest import require_program
from tests.integration.fake_upstream import connect
from tests.waiting import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

NGINX_CONFIG = """\
daemon off;
master_process off;
pid {directory}/nginx.pid;
error_log stderr crit;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://127.0.0.1:{upstream_port};
            proxy_http_version 1.1;
            proxy_buffering off;
            proxy_request_buffering off;
            proxy_set_header Connection "";
            proxy_set_header Host $http_host;
        }}
    }}
}}
"""
HAPROXY_CONFIG = """\
defaults
    mode http
    option http-no-delay
    retries 0
    timeout connect 5s
    timeout client 10s
    timeout server 10s
listen all
    bind 127.0.0.1:{port}
    server upstream 127.0.0.1:{upstream_port}
"""


@dataclass(frozen=True)
class Oracle:
    """Another proxy, and how it is started with a configuration."""

    program: str
    template: str
    arguments: tuple[str, ...]  # in front of the configuration's path

    @property
    def path(self) -> str:
        """Where it is installed: Debian keeps servers where users have no path to."""
        known = shutil.which(self.program, path="/usr/sbin:/usr/local/sbin")
        return known or require_program(self.program)

    @property
    def version(self) -> str:
        """The version that is installed here."""
        shown = subprocess.run([self.path, "-v"], capture_output=True, text=True, check=True)
        found = re.search(r"\d+\.\d+\.\d+", shown.stdout + shown.stderr)
        return found[0] if found else ""


ORACLES = {
    "nginx": Oracle("nginx", NGINX_CONFIG, ("-e", "stderr", "-c")),
    "haproxy": Oracle("haproxy", HAPROXY_CONFIG, ("-db", "-f")),
}


@asynccontextmanager
async def serving(name: str, directory: Path, upstream_port: int) -> AsyncIterator[int]:
    """Run another proxy and return its port."""
    oracle = ORACLES[name]
    config = directory / f"{name}.conf"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    values = {"directory": directory, "port": port, "upstream_port": upstream_port}
    config.write_text(oracle.template.format(**values))
    process = await asyncio.create_subprocess_exec(
        oracle.path,
        *oracle.arguments,
        str(config),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        env={"PATH": os.environ["PATH"]},
    )
    try:
        await _until_it_listens(process, port)
        yield port
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def _until_it_listens(process: asyncio.subprocess.Process, port: int) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            if process.returncode is not None:
                assert process.stderr is not None
                raise AssertionError((await process.stderr.read()).decode())
            try:
                peer = await connect(port)
            except OSError:
                await asyncio.sleep(0.01)
            else:
                peer.close()
                return
