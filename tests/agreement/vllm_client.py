"""Send prompts through vLLM's own benchmark client and print what it measured, as JSON.

Runs in the environment of the comparison; takes the path of vLLM's `endpoint_request_func.py`, the
URL of an API, a model, and prompts. Imports nothing of `goodput_proxy`, and of vLLM that one file.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import aiohttp

# Of the request; a script ends its answer by itself.
MAX_TOKENS = 256


def load(path: Path) -> Any:
    """Import a file by its path."""
    spec = importlib.util.spec_from_file_location("endpoint_request_func", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclasses look their module up
    spec.loader.exec_module(module)
    return module


async def send(client: Any, url: str, model: str, prompts: list[str]) -> list[dict[str, Any]]:
    """Send one request after the other; return the client's own numbers of each."""
    found = []
    async with aiohttp.ClientSession() as session:
        for prompt in prompts:
            asked = client.RequestFuncInput(
                prompt=prompt,
                api_url=f"{url}/v1/chat/completions",
                prompt_len=2,
                output_len=MAX_TOKENS,
                model=model,
                request_id=f"vllm-{prompt.replace(' ', '-')}",
            )
            told = await client.async_request_openai_chat_completions(asked, session)
            found.append(
                {
                    "request_id": asked.request_id,
                    "success": told.success,
                    "ttft_ms": told.ttft * 1000,
                    "latency_ms": told.latency * 1000,
                    "output_tokens": told.output_tokens,
                    "error": told.error.strip().splitlines()[-1:],
                }
            )
    return found


def main() -> None:
    """Do as the command line says."""
    path, url, model, *prompts = sys.argv[1:]
    found = asyncio.run(send(load(Path(path)), url, model, prompts))
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()
