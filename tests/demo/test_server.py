"""The simulated server answers as vLLM does, and frees what its clients leave behind."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from yarl import URL

from goodput_proxy.demo.engine import Profile
from goodput_proxy.demo.faults import Fault, Faults
from goodput_proxy.demo.server import SimulatedServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

FAST = Profile(time_scale=0.01)
FROZEN = Profile(max_batch=1, time_scale=10_000)  # a step takes minutes
CHAT: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "one two"}]}
COMPLETION: dict[str, Any] = {"model": "m", "prompt": "one two"}


@asynccontextmanager
async def serving(
    profile: Profile = FAST, faults: Faults | None = None
) -> AsyncIterator[tuple[SimulatedServer, aiohttp.ClientSession]]:
    """Run a server, with a client that is bound to it."""
    server = SimulatedServer(profile, faults=faults)
    url = await server.start()
    try:
        async with aiohttp.ClientSession(url) as client:
            yield server, client
    finally:
        await server.stop()


async def streamed(client: aiohttp.ClientSession, path: str, body: dict[str, Any]) -> list[Any]:
    """Return what each record of an answer holds."""
    async with client.post(path, json={**body, "stream": True}) as response:
        assert response.status == 200
        assert response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
        *records, rest = (await response.read()).split(b"\n\n")
    assert rest == b""
    data = [record.decode().removeprefix("data: ") for record in records]
    assert data.pop() == "[DONE]"
    return [json.loads(text) for text in data]


async def eventually(holds: Callable[[], bool]) -> None:
    """Wait for something that another task brings about."""
    async with asyncio.timeout(5):
        while not holds():  # noqa: ASYNC110 -- plain counters have no event to wait for
            await asyncio.sleep(0.002)


async def test_chat_stream() -> None:
    """Role, one record per token, finish, usage because it was asked for, then the terminator."""
    async with serving() as (server, client):
        body = {**CHAT, "max_tokens": 3, "stream_options": {"include_usage": True}}
        records = await streamed(client, "/v1/chat/completions", body)
        assert (server.started, server.finished, server.aborted) == (1, 1, 0)
    *choices, usage = records
    assert [record["choices"][0]["delta"] for record in choices] == [
        {"role": "assistant", "content": ""},
        {"content": " the"},
        {"content": " batch"},
        {"content": " is"},
        {"content": ""},
    ]
    assert [record["choices"][0]["finish_reason"] for record in choices] == [None] * 4 + ["length"]
    assert usage["choices"] == []
    assert usage["usage"] == {"prompt_tokens": 3, "total_tokens": 6, "completion_tokens": 3}
    assert {(record["id"], record["model"]) for record in records} == {("chatcmpl-00000000", "m")}


async def test_usage_only_when_asked_for() -> None:
    """Without `include_usage` no record is without choices."""
    async with serving() as (_, client):
        records = await streamed(client, "/v1/chat/completions", {**CHAT, "max_tokens": 2})
    assert all(record["choices"] for record in records)


async def test_completion_stream() -> None:
    """One record per token; the last carries the finish reason."""
    async with serving() as (_, client):
        records = await streamed(client, "/v1/completions", {**COMPLETION, "max_tokens": 2})
    choices = [record["choices"][0] for record in records]
    assert [(choice["text"], choice["finish_reason"]) for choice in choices] == [
        (" the", None),
        (" batch", "length"),
    ]


@pytest.mark.parametrize(
    ("path", "body"), [("/v1/chat/completions", CHAT), ("/v1/completions", COMPLETION)]
)
async def test_answer_in_one_body(path: str, body: dict[str, Any]) -> None:
    """Without `stream` the answer is one JSON body with usage; its length is the engine's."""
    async with serving() as (_, client), client.post(path, json=body) as response:
        assert response.status == 200
        answer = await response.json()
    assert answer["choices"][0]["finish_reason"] == "stop"
    shortest, longest = FAST.output_tokens
    assert shortest <= answer["usage"]["completion_tokens"] <= longest


async def test_each_record_is_one_write() -> None:
    """On the wire each record is one HTTP chunk, as from uvicorn."""
    async with serving() as (_, client):
        url = client._base_url
        assert url is not None
        reader, writer = await asyncio.open_connection(url.host, url.port)
        body = json.dumps({**CHAT, "max_tokens": 5, "stream": True}).encode()
        writer.write(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b"
            % (len(body), body)
        )
        await reader.readuntil(b"\r\n\r\n")
        chunks = []
        while size := int(await reader.readuntil(b"\r\n"), 16):
            chunks.append((await reader.readexactly(size + 2)).removesuffix(b"\r\n"))
        writer.close()
    assert len(chunks) == 1 + 5 + 1 + 1
    assert all(c.startswith(b"data: ") and c.find(b"\n\n") == len(c) - 2 for c in chunks)


async def test_headers_are_sent_before_prefill() -> None:
    """A client sees 200 while its prompt still waits: response headers are no TTFT."""
    body = {**CHAT, "stream": True}
    async with (
        serving(FROZEN) as (server, client),
        client.post("/v1/chat/completions", json=body) as runs,
        client.post("/v1/chat/completions", json=body) as waits,
    ):
        assert (runs.status, waits.status) == (200, 200)
        assert (server.running, server.waiting) == (1, 1)


@pytest.mark.parametrize("stream", [True, False])
async def test_disconnect_frees_the_slot(*, stream: bool) -> None:
    """A client that leaves, running or waiting, streamed or not, is forgotten at once."""
    async with serving(FROZEN) as (server, client):
        asks = [asyncio.create_task(read(client, {**CHAT, "stream": stream})) for _ in range(3)]
        await eventually(lambda: (server.running, server.waiting) == (1, 2))
        for ask in asks:
            ask.cancel()
        await eventually(lambda: (server.running, server.waiting) == (0, 0))
        assert (server.started, server.finished, server.aborted) == (3, 0, 3)


async def read(client: aiohttp.ClientSession, body: dict[str, Any]) -> bytes:
    async with client.post("/v1/chat/completions", json=body) as response:
        return await response.read()


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"not json", "JSON is malformed"),
        (b"\xff", "JSON is malformed"),
        (b"{}", "missing required field `messages`"),
        (b'{"messages":[]}', "length >= 1 - at `$.messages`"),
        (b'{"messages":[{"role":"user"}],"max_tokens":0}', ">= 1 - at `$.max_tokens`"),
        (b'{"messages":[{"role":"user"}],"stream":"yes"}', "`$.stream`"),
        (b'{"messages":[{"role":"user"}],"n":2}', "<= 1 - at `$.n`"),
    ],
)
async def test_bad_request(body: bytes, reason: str) -> None:
    """A request that makes no sense is a 400 with OpenAI's error object, and starts nothing."""
    async with serving() as (server, client):
        async with client.post("/v1/chat/completions", data=body) as response:
            assert response.status == 400
            error = (await response.json())["error"]
        assert server.started == 0
    assert reason in error["message"]
    assert (error["type"], error["code"]) == ("BadRequestError", 400)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("faults", "fault", "status", "kind"),
    [
        (Faults(internal=1.0), Fault.INTERNAL, 500, "InternalServerError"),
        (Faults(refused=1.0), Fault.REFUSED, 429, "TooManyRequests"),
    ],
)
async def test_refusals(
    faults: Faults, fault: Fault, status: int, kind: str, *, stream: bool
) -> None:
    """A request that is refused on purpose starts nothing, and is counted."""
    async with serving(faults=faults) as (server, client):
        body = {**CHAT, "stream": stream}
        async with client.post("/v1/chat/completions", json=body) as response:
            assert response.status == status
            assert (await response.json())["error"]["type"] == kind
        assert (server.started, server.faults) == (0, {fault: 1})


async def test_an_error_comes_inside_a_200() -> None:
    """The stream tells of it after some of the answer, and then ends as streams do."""
    async with serving(faults=Faults(stream_error=1.0)) as (server, client):
        records = await streamed(client, "/v1/chat/completions", {**CHAT, "max_tokens": 20})
        assert server.faults == {Fault.STREAM_ERROR: 1}
        assert (server.finished, server.aborted) == (0, 1)
    assert len(records) == 1 + 4 + 1
    assert records[-1]["error"]["code"] == 500


async def test_a_stream_breaks_off() -> None:
    """The connection closes between two tokens; what was sent before arrives."""
    async with serving(faults=Faults(truncated=1.0)) as (server, client):
        body = {**CHAT, "max_tokens": 20, "stream": True}
        async with client.post("/v1/chat/completions", json=body) as response:
            assert response.status == 200
            received = await response.content.readexactly(1)
            while not response.content.exception():
                with suppress(aiohttp.ClientPayloadError):
                    received += await response.content.readany()
            assert isinstance(response.content.exception(), aiohttp.ClientPayloadError)
        await eventually(lambda: server.aborted == 1)
        assert server.faults == {Fault.TRUNCATED: 1}
    assert received.count(b"data: ") == 1 + 4


@pytest.mark.parametrize("faults", [Faults(truncated=1.0), Faults(stream_error=1.0)])
async def test_an_answer_in_one_piece_fails_as_a_whole(faults: Faults) -> None:
    """It has no middle to break in: the fault is an error 500, and counted as one."""
    async with serving(faults=faults) as (server, client):
        async with client.post("/v1/chat/completions", json=CHAT) as response:
            assert response.status == 500
        assert server.faults == {Fault.INTERNAL: 1}


async def test_several_tokens_in_a_record() -> None:
    """With speculative decoding usage counts the tokens, and records are fewer."""
    profile = Profile(time_scale=0.01, tokens_per_step=(3, 3))
    async with serving(profile) as (_, client):
        body = {**CHAT, "max_tokens": 8, "stream_options": {"include_usage": True}}
        _, *contents, _, usage = await streamed(client, "/v1/chat/completions", body)
    texts = [record["choices"][0]["delta"]["content"] for record in contents]
    assert [len(text.split()) for text in texts] == [3, 3, 2]
    assert usage["usage"]["completion_tokens"] == 8


async def test_nulls_are_absent_fields() -> None:
    """SDKs send null for what is not set."""
    body = {**CHAT, "n": None, "max_tokens": None, "stream": None, "stream_options": None}
    async with serving() as (_, client):
        assert json.loads(await read(client, body))["choices"]


async def test_pages_that_are_not_inference() -> None:
    """Models, health and version are there, as scripts expect them."""
    async with serving() as (server, client):
        async with client.get("/v1/models") as response:
            assert [model["id"] for model in (await response.json())["data"]] == ["demo-model"]
        async with client.get("/health") as response:
            assert (response.status, await response.read()) == (200, b"")
        async with client.get("/version") as response:
            assert "version" in await response.json()
        assert server.started == 0


async def test_address_of_choice_and_stop() -> None:
    """The URL names the address that was asked for; after the stop nobody listens there."""
    server = SimulatedServer(FROZEN)
    url = URL(await server.start("127.0.0.1", 0))
    assert (url.scheme, url.host) == ("http", "127.0.0.1")
    async with aiohttp.ClientSession() as client:
        async with client.post(url / "v1/chat/completions", json={**CHAT, "stream": True}):
            assert server.running == 1
            await server.stop()
            assert server.running == 0
        with pytest.raises(aiohttp.ClientConnectionError):
            await client.get(url / "health")


async def test_stop_without_start() -> None:
    """A server that never started can be stopped."""
    await SimulatedServer().stop()
