"""Envoy with one worker, its access log and its admin listener off."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from .peer import Peer, environment, environment_version, itself, needs_environment

if TYPE_CHECKING:
    from .peer import Site

NAME = "Envoy"
FOLDER = "envoy"
_ROUTER = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
_MANAGER = (
    "type.googleapis.com/"
    "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
)


def _config(site: Site) -> dict[str, object]:
    route = {"match": {"prefix": "/"}, "route": {"cluster": "inference", "timeout": "0s"}}
    manager = {
        "@type": _MANAGER,
        "stat_prefix": "in",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {"@type": _ROUTER}}],
    }
    name = "envoy.filters.network.http_connection_manager"
    listener = {
        "name": "in",
        "address": _address(site.listen_port),
        "filter_chains": [{"filters": [{"name": name, "typed_config": manager}]}],
    }
    limits = dict.fromkeys(("max_connections", "max_pending_requests", "max_requests"), 16384)
    endpoint = {"endpoint": {"address": _address(site.upstream_port)}}
    cluster = {
        "name": "inference",
        "type": "STATIC",
        "connect_timeout": "5s",
        "circuit_breakers": {"thresholds": [limits]},
        "load_assignment": {
            "cluster_name": "inference",
            "endpoints": [{"lb_endpoints": [endpoint]}],
        },
    }
    return {"static_resources": {"listeners": [listener], "clusters": [cluster]}}


def _address(port: int) -> dict[str, object]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def _command(site: Site) -> list[str]:
    config = site.directory / "envoy.json"
    config.write_text(json.dumps(_config(site)))
    return [
        *(str(environment(FOLDER) / "bin" / "envoy"), "-c", str(config)),
        *("--concurrency", "1", "--use-dynamic-base-id", "-l", "error"),
    ]


PEER = Peer(NAME, needs_environment(FOLDER), environment_version(FOLDER), _command, itself)
