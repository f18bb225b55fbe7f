"""vLLM's own router, in Rust: one worker behind it, nothing to choose between."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .peer import Peer, environment, environment_version, itself, needs_environment

if TYPE_CHECKING:
    from .peer import Site

NAME = "vllm-router"
FOLDER = "vllm-router"


def _command(site: Site) -> list[str]:
    return [
        *(str(environment(FOLDER) / "bin" / "vllm-router"), "--host", "127.0.0.1"),
        *("--port", str(site.listen_port), "--prometheus-port", str(site.admin_port)),
        *("--worker-urls", f"http://127.0.0.1:{site.upstream_port}"),
        *("--policy", "round_robin", "--log-level", "error"),
    ]


PEER = Peer(
    NAME, needs_environment(FOLDER), environment_version(FOLDER), _command, itself, ready_s=60.0
)
