"""A peer: the proxy that one writes in half an hour with aiohttp on both sides.

`async for chunk: await write`, nothing measured, nothing hardened. It is the yardstick
for what the synchronous relay saves. It runs on uvloop, as goodput-proxy does, so that
the difference is the shape and not the loop.

Run as `python -m bench.plain_aiohttp UPSTREAM_PORT LISTEN_PORT`.
"""

from __future__ import annotations

import asyncio
import sys

import aiohttp
import uvloop
from aiohttp import web

_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "host"}


async def serve(upstream_port: int, listen_port: int) -> None:
    """Forward every request to the upstream until cancelled."""
    upstream = f"http://127.0.0.1:{upstream_port}"
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        timeout=aiohttp.ClientTimeout(total=None),
        auto_decompress=False,
    ) as session:

        async def forward(request: web.BaseRequest) -> web.StreamResponse:
            async with session.request(
                request.method,
                upstream + request.raw_path,
                headers=_end_to_end(request.headers),
                data=await request.read(),
            ) as answer:
                response = web.StreamResponse(
                    status=answer.status, headers=_end_to_end(answer.headers)
                )
                await response.prepare(request)
                async for chunk in answer.content.iter_any():
                    await response.write(chunk)
                await response.write_eof()
                return response

        runner = web.ServerRunner(web.Server(forward, access_log=None))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", listen_port, backlog=4096).start()
        await asyncio.Event().wait()


def _end_to_end(headers: aiohttp.typedefs.LooseHeaders) -> list[tuple[str, str]]:
    return [(k, v) for k, v in dict(headers).items() if k.lower() not in _HOP_BY_HOP]


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), int(sys.argv[2])))
