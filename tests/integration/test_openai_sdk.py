"""The real `openai` SDK works through the proxy with no change but its base URL."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import openai
import pytest

from goodput_proxy.demo.engine import Profile
from goodput_proxy.demo.server import SimulatedServer
from tests.integration.fake_upstream import FakeUpstream
from tests.integration.harness import RunningProxy
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from openai.types.chat import ChatCompletionUserMessageParam

FAST = Profile(time_scale=0.01)
# Steps of 16 ms: a stream that is closed in its middle has most of itself ahead.
STEADY = Profile(output_tokens=(1000, 1000))
MESSAGES: list[ChatCompletionUserMessageParam] = [{"role": "user", "content": "one two"}]
TEXT = " the batch is"
TOKENS = 3


@asynccontextmanager
async def serving(profile: Profile = FAST) -> AsyncIterator[tuple[SimulatedServer, RunningProxy]]:
    """Run a simulated server with the proxy in front."""
    server = SimulatedServer(profile)
    url = await server.start()
    proxy = await RunningProxy.start(
        FakeUpstream(), upstream=url, slo={"ttft": "60s", "itl": "60s"}
    )
    try:
        yield server, proxy
    finally:
        await proxy.stop()
        await server.stop()


def make_client(proxy: RunningProxy) -> openai.AsyncOpenAI:
    """Return a client that does not try again: the counts must be those of its calls."""
    return openai.AsyncOpenAI(base_url=f"{proxy.app.proxy_url}/v1", api_key="secret", max_retries=0)


async def assert_good(proxy: RunningProxy, api: str, requests: int = 1) -> None:
    """Check that all requests were good and their tokens counted."""
    samples = await proxy.samples()
    assert samples.verdicts(model="m", api=api) in (
        {("good", ""): requests},
        {("good_partial", ""): requests},
    )
    assert samples.total("goodput_output_tokens_total", model="m") == TOKENS * requests
    assert samples.total("goodput_requests_total") == requests


async def test_chat_stream() -> None:
    """A chat stream arrives record by record, usage included."""
    async with serving() as (_, proxy), make_client(proxy) as client:
        stream = await client.chat.completions.create(
            model="m",
            messages=MESSAGES,
            max_tokens=TOKENS,
            stream=True,
            stream_options={"include_usage": True},
        )
        chunks = [chunk async for chunk in stream]
        await assert_good(proxy, "chat")
    contents = [choice.delta.content for chunk in chunks for choice in chunk.choices]
    assert "".join(text or "" for text in contents) == TEXT
    usage = chunks[-1].usage
    assert usage is not None
    assert usage.completion_tokens == TOKENS


async def test_chat() -> None:
    """A chat answer in one piece."""
    async with serving() as (_, proxy), make_client(proxy) as client:
        answer = await client.chat.completions.create(
            model="m", messages=MESSAGES, max_tokens=TOKENS
        )
        await assert_good(proxy, "chat")
    assert answer.choices[0].message.content == TEXT
    assert answer.choices[0].finish_reason == "length"


async def test_completion_stream() -> None:
    """A stream of the older API."""
    async with serving() as (_, proxy), make_client(proxy) as client:
        stream = await client.completions.create(
            model="m", prompt="one two", max_tokens=TOKENS, stream=True
        )
        texts = [chunk.choices[0].text async for chunk in stream]
        await assert_good(proxy, "completions")
    assert "".join(texts) == TEXT


async def test_completion() -> None:
    """An answer of the older API in one piece."""
    async with serving() as (_, proxy), make_client(proxy) as client:
        answer = await client.completions.create(model="m", prompt="one two", max_tokens=TOKENS)
        await assert_good(proxy, "completions")
    assert answer.choices[0].text == TEXT


async def test_blocking_client() -> None:
    """The client for ordinary code does the same, and keeps its connection."""

    def call(url: str) -> list[str]:
        with openai.OpenAI(base_url=url, api_key="secret", max_retries=0) as client:
            texts = []
            for _ in range(2):
                stream = client.chat.completions.create(
                    model="m", messages=MESSAGES, max_tokens=TOKENS, stream=True
                )
                texts.append("".join(c.choices[0].delta.content or "" for c in stream))
            answer = client.chat.completions.create(model="m", messages=MESSAGES, max_tokens=TOKENS)
            return [*texts, answer.choices[0].message.content or ""]

    async with serving() as (_, proxy):
        texts = await asyncio.to_thread(call, f"{proxy.app.proxy_url}/v1")
        samples = await proxy.samples()
    assert texts == [TEXT] * 3
    assert samples.verdicts() == {("good", ""): 2, ("good_partial", ""): 1}


async def test_models() -> None:
    """What is not inference works, too, and is counted apart."""
    async with serving() as (_, proxy), make_client(proxy) as client:
        models = [model.id async for model in client.models.list()]
        samples = await proxy.samples()
    assert models
    assert samples.total("goodput_passthrough_requests_total", kind="metadata") == 1
    assert samples.verdicts() == {}


async def test_stream_closed_in_its_middle() -> None:
    """A stream that its reader closes stops the generation behind it."""
    async with serving(STEADY) as (server, proxy), make_client(proxy) as client:
        stream = await client.chat.completions.create(model="m", messages=MESSAGES, stream=True)
        read = 0
        async for _ in stream:
            read += 1
            if read == 3:
                break
        await stream.close()
        await eventually(lambda: server.aborted, "an aborted generation")
        samples = await proxy.samples()
    assert (server.started, server.finished, server.aborted) == (1, 0, 1)
    assert samples.verdicts() == {("cancelled", "client"): 1}
    assert samples.total("goodput_client_cancels_total", phase="between_tokens") == 1


async def test_many_streams_at_once() -> None:
    """Streams that run side by side do not disturb each other."""

    async def read(client: openai.AsyncOpenAI) -> str:
        stream = await client.chat.completions.create(
            model="m", messages=MESSAGES, max_tokens=TOKENS, stream=True
        )
        return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    async with serving() as (_, proxy), make_client(proxy) as client:
        texts = await asyncio.gather(*(read(client) for _ in range(40)))
        await assert_good(proxy, "chat", 40)
    assert set(texts) == {TEXT}


async def test_errors_are_the_servers_own() -> None:
    """A request that the server refuses raises what it would raise without the proxy."""
    async with serving() as (_, proxy), make_client(proxy) as client:
        with pytest.raises(openai.BadRequestError):
            await client.chat.completions.create(
                model="m", messages=MESSAGES, extra_body={"max_tokens": "many"}
            )
        assert await proxy.verdicts() == {("client_error", "http_4xx"): 1}


async def test_errors_of_the_proxy() -> None:
    """An error of the proxy's own is one that the SDK understands."""
    async with serving() as (server, proxy), make_client(proxy) as client:
        await server.stop()
        with pytest.raises(openai.InternalServerError) as caught:
            await client.chat.completions.create(model="m", messages=MESSAGES)
        assert caught.value.status_code == 502
        assert caught.value.code == "unreachable"
        assert caught.value.type == "proxy_error"
        assert await proxy.verdicts() == {("error", "connect"): 1}
