"""LiteLLM's proxy: what most people put in front of their models.

It is no transparent proxy: every record is parsed and written anew. It stands in the table for
scale, and only in the full bench, since it needs a core for some hundred tokens a second.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from bench.load import MODEL

from .peer import Peer, environment, environment_version, itself, needs_environment

if TYPE_CHECKING:
    from .peer import Site

NAME = "LiteLLM"
FOLDER = "litellm"


def _command(site: Site) -> list[str]:
    model = {
        "model_name": MODEL,
        "litellm_params": {
            "model": f"openai/{MODEL}",
            "api_base": f"http://127.0.0.1:{site.upstream_port}/v1",
            "api_key": "none",
        },
    }
    config = site.directory / "litellm.yaml"  # JSON is YAML
    # It wants a key of its own; a bench on loopback has none to protect.
    settings = {"dangerously_permit_weak_or_unset_master_key": True}
    config.write_text(json.dumps({"model_list": [model], "general_settings": settings}))
    return [
        # Without a network it would wait for tokenizers and prices, request by request.
        *("env", "HF_HUB_OFFLINE=1", "LITELLM_LOCAL_MODEL_COST_MAP=True"),
        *(str(environment(FOLDER) / "bin" / "litellm"), "--config", str(config)),
        *("--host", "127.0.0.1", "--port", str(site.listen_port), "--num_workers", "1"),
    ]


PEER = Peer(
    NAME, needs_environment(FOLDER), environment_version(FOLDER), _command, itself, ready_s=120.0
)
