"""The inference server of the comparison: it plays the script that a prompt names.

Run as `python -m tests.agreement.upstream`; prints its URL, and then a line for each request with
its `x-request-id` and its prompt, by which the records of all observers are brought together.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from aiohttp import web

from tests.agreement.load import PLANS
from tests.agreement.scenarios import SCENARIOS
from tests.agreement.wire import EVENT_STREAM, End, Script

SCRIPTS: dict[str, Script] = {
    **{scenario.prompt: scenario.script for scenario in SCENARIOS},
    **{plan.prompt: plan.script() for plan in PLANS},
}


def prompt_of(body: dict[str, Any]) -> str:
    """Return the text of the last message, which may come in parts."""
    content = body["messages"][-1]["content"]
    return content if isinstance(content, str) else "".join(part["text"] for part in content)


async def answer(request: web.Request) -> web.StreamResponse:
    """Play the script of a request."""
    loop = asyncio.get_running_loop()
    start_s = loop.time()
    prompt = prompt_of(await request.json())
    note = {"request_id": request.headers.get("x-request-id", ""), "prompt": prompt}
    sys.stdout.write(json.dumps(note) + "\n")
    sys.stdout.flush()
    return await play(request, SCRIPTS[prompt], start_s)


async def play(request: web.Request, script: Script, start_s: float) -> web.StreamResponse:
    """Send the head at once, as servers do before prefill, then each write at its time."""
    response = web.StreamResponse(
        status=script.status, headers={"Content-Type": script.content_type}
    )
    if script.content_type == EVENT_STREAM:
        await response.prepare(request)
    loop = asyncio.get_running_loop()
    for write in script.writes:
        await asyncio.sleep(max(0.0, start_s + write.at_ms / 1000 - loop.time()))
        if not response.prepared:  # what is no stream has its head with its body
            response.content_length = len(write.data)
            await response.prepare(request)
        await response.write(write.data)
    if script.end is End.ABORT:
        assert request.transport is not None
        request.transport.abort()
        return response
    await response.write_eof()
    return response


def application() -> web.Application:
    """Return the routes."""
    app = web.Application()
    app.router.add_post("/v1/chat/completions", answer)
    return app


async def serve() -> None:
    """Listen on a free port until the process is ended."""
    runner = web.AppRunner(application(), access_log=None, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    sys.stdout.write(f"listening on http://127.0.0.1:{runner.addresses[0][1]}\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve())
