"""The real `ollama` SDK works through the proxy with no change but its host."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import ollama
import pytest

from tests.integration.fake_upstream import connect
from tests.integration.harness import post
from tests.integration.scripted import (
    MODEL,
    Close,
    Counted,
    Script,
    collect,
    compact,
    judged,
    lines,
    passed,
    staged,
    whole,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.integration.conftest import StartProxy
    from tests.integration.scripted import Stage

MESSAGES = [{"role": "user", "content": "How warm is it in Århus?"}]
TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Tell the weather.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
COUNTS: dict[str, Any] = {
    "total_duration": 912345678,
    "load_duration": 12345678,
    "prompt_eval_count": 26,
    "prompt_eval_duration": 112345678,
    "eval_count": 14,
    "eval_duration": 712345678,
}


def make_client(stage: Stage) -> ollama.AsyncClient:
    """Return a client, which without TLS has no authorities to read."""
    return ollama.AsyncClient(stage.url, trust_env=False, verify=False)


def record(*, done: bool = False, **said: Any) -> dict[str, Any]:
    """Return an object of either API."""
    return {"model": MODEL, "created_at": "2026-01-02T03:04:05.678901234Z", **said, "done": done}


def chat(content: str = "", **more: Any) -> dict[str, Any]:
    """Return a record of a chat; it always has a content."""
    return record(message={"role": "assistant", "content": content, **more})


def chat_end(reason: str = "stop", content: str = "", **counts: Any) -> dict[str, Any]:
    """Return the last record of a chat."""
    said = {"role": "assistant", "content": content}
    return record(message=said, done_reason=reason, done=True, **counts)


async def listen(stream: AsyncIterator[ollama.ChatResponse]) -> list[ollama.ChatResponse]:
    """Return all records of a chat."""
    return [each async for each in stream]


async def test_chat_stream() -> None:
    """A chat stream arrives line by line, with its counts in the last one."""
    script = lines(chat("21 "), chat("°C"), chat(" & \N{CLOUD}"), chat_end(**COUNTS))
    async with staged() as stage, make_client(stage) as client:

        async def call() -> list[ollama.ChatResponse]:
            return await listen(await client.chat(MODEL, MESSAGES, stream=True))

        said = await stage.perform(script, call())
        assert await stage.counted() == judged(
            "ollama", output=14, prompt=26, source="eval_count", records=3
        )
    assert "".join(each.message.content or "" for each in said) == "21 °C & \N{CLOUD}"
    assert (said[-1].done, said[-1].done_reason, said[-1].eval_count) == (True, "stop", 14)


async def test_escapes_of_go() -> None:
    """Text that the server writes as escapes, as Go does with `<`, `>` and `&`, is text."""
    pieces = (
        compact(chat("?")).replace(b'"?"', rb'"\u003cb\u003e"') + b"\n",
        compact(chat_end("length", **COUNTS)) + b"\n",
    )
    script = Script(pieces, b"application/x-ndjson", streamed=True)
    async with staged() as stage, make_client(stage) as client:

        async def call() -> list[ollama.ChatResponse]:
            return await listen(await client.chat(MODEL, MESSAGES, stream=True))

        said = await stage.perform(script, call())
        # 14 tokens in a single record with text: the time between them is 0.
        assert await stage.counted() == judged(
            "ollama", output=14, prompt=26, source="eval_count", records=1
        )
    assert [each.message.content for each in said] == ["<b>", ""]
    assert said[-1].done_reason == "length"


async def test_chat_stream_with_thinking_and_a_tool_call() -> None:
    """Thoughts are output, and so is a tool call, which comes whole and as an object."""
    wanted = {"name": "weather", "arguments": {"city": "Århus"}}
    script = lines(
        chat(thinking="The user"),
        chat(thinking=" asks."),
        chat(tool_calls=[{"id": "call_1", "function": {"index": 0, **wanted}}]),
        chat_end(**COUNTS),
    )
    async with staged() as stage, make_client(stage) as client:

        async def call() -> list[ollama.ChatResponse]:
            stream = await client.chat(MODEL, MESSAGES, tools=[TOOL], think=True, stream=True)
            return await listen(stream)

        said = await stage.perform(script, call())
        assert await stage.counted() == judged(
            "ollama", output=14, prompt=26, source="eval_count", records=3
        )
    assert "".join(each.message.thinking or "" for each in said) == "The user asks."
    calls = [call for each in said for call in each.message.tool_calls or ()]
    assert [call.function.model_dump() for call in calls] == [wanted]


async def test_chat() -> None:
    """A chat answer in one piece."""
    answer = chat_end(content="21 °C", **COUNTS)
    answer["message"]["thinking"] = "The user asks."
    async with staged() as stage, make_client(stage) as client:
        said = await stage.perform(whole(answer), client.chat(MODEL, MESSAGES, think=True))
        assert await stage.counted() == judged(
            "ollama", "good_partial", output=14, prompt=26, source="eval_count"
        )
    assert said.message.content == "21 °C"
    assert said.message.thinking == "The user asks."
    assert said.done_reason == "stop"


async def test_chat_with_a_tool_call() -> None:
    """A chat answer in one piece that is nothing but a tool call is not empty."""
    wanted = {"name": "weather", "arguments": {"city": "Århus"}}
    answer = chat_end(**COUNTS)
    answer["message"]["tool_calls"] = [{"function": wanted}]
    async with staged() as stage, make_client(stage) as client:
        said = await stage.perform(whole(answer), client.chat(MODEL, MESSAGES, tools=[TOOL]))
        assert await stage.counted() == judged(
            "ollama", "good_partial", output=14, prompt=26, source="eval_count"
        )
    assert [call.function.model_dump() for call in said.message.tool_calls or ()] == [wanted]


async def test_generate_stream() -> None:
    """A stream of the older API; thoughts have a field of their own."""
    script = lines(
        record(response="", thinking="Hm."),
        record(response="21 "),
        record(response="°C"),
        record(response="", done_reason="stop", context=[1, 2, 3], done=True, **COUNTS),
    )
    async with staged() as stage, make_client(stage) as client:

        async def call() -> list[ollama.GenerateResponse]:
            return [each async for each in await client.generate(MODEL, "How warm?", stream=True)]

        said = await stage.perform(script, call())
        assert await stage.counted() == judged(
            "ollama", output=14, prompt=26, source="eval_count", records=3
        )
    assert "".join(each.response or "" for each in said) == "21 °C"
    assert said[0].thinking == "Hm."
    assert said[-1].context == [1, 2, 3]


async def test_generate() -> None:
    """An answer of the older API in one piece."""
    answer = record(response="21 °C", done_reason="stop", context=[1, 2, 3], done=True, **COUNTS)
    async with staged() as stage, make_client(stage) as client:
        said = await stage.perform(whole(answer), client.generate(MODEL, "How warm?"))
        assert await stage.counted() == judged(
            "ollama", "good_partial", output=14, prompt=26, source="eval_count"
        )
    assert said.response == "21 °C"


@pytest.mark.parametrize("path", [b"/api/chat", b"/api/generate"])
async def test_stream_that_nobody_asked_for(path: bytes) -> None:
    """A request that does not say is streamed; the SDK always says, so this one is by hand."""
    body = compact({"model": MODEL, "messages": MESSAGES, "prompt": "How warm?"})
    script = lines(chat("21 ") | {"response": "21 "}, chat_end(**COUNTS))
    async with staged() as stage:

        async def call() -> bytes:
            peer = await connect(int(stage.url.rpartition(":")[2]))
            peer.send(post(body, path=path))
            answer = await peer.answer()
            peer.close()
            return answer.body

        assert await stage.perform(script, call()) == b"".join(script.pieces)
        assert await stage.counted() == judged(
            "ollama", output=14, prompt=26, source="eval_count", records=1
        )


@pytest.mark.parametrize(
    ("stream", "verdict"),
    [
        ({}, ("slow", "ttft")),
        ({"stream": True}, ("slow", "ttft")),
        ({"stream": False}, ("cancelled", "client")),
    ],
)
async def test_request_that_is_left_before_its_answer(
    start_proxy: StartProxy, stream: dict[str, bool], verdict: tuple[str, str]
) -> None:
    """Whoever waits for a stream waits for its first token, and one that is not declined is one."""
    proxy = await start_proxy(slo={"ttft": "1us"})
    body = compact({"model": MODEL, "messages": MESSAGES, **stream})
    client, server = await proxy.begin(post(body, path=b"/api/chat"))
    await server.request()
    client.close()
    await server.ended()
    assert await proxy.verdicts() == {verdict: 1}


@pytest.mark.parametrize("close", [Close.WITH, Close.NEVER])
async def test_error_inside_a_stream(close: Close) -> None:
    """An error line inside a 200 raises and is the server's fault, whoever hangs up first."""
    error = {"error": "llama runner process has terminated: exit status 2"}
    seen: list[ollama.ChatResponse] = []
    async with staged() as stage, make_client(stage) as client:

        async def call() -> None:
            stream = await client.chat(MODEL, MESSAGES, stream=True)
            with pytest.raises(ollama.ResponseError, match="has terminated"):
                await collect(stream, seen)

        await stage.perform(lines(chat("21 "), error, close=close), call())
        assert await stage.counted() == judged(
            "ollama",
            "error stream_error",
            output=1,
            source="events",
            records=1,
            cancels="between_tokens" if close is Close.NEVER else "",
        )
    assert [each.message.content for each in seen] == ["21 "]


async def test_error_before_a_stream() -> None:
    """An unknown model is the client's fault, and takes no label."""
    async with staged() as stage, make_client(stage) as client:

        async def call() -> int:
            with pytest.raises(ollama.ResponseError) as caught:
                await listen(await client.chat(MODEL, MESSAGES, stream=True))
            return caught.value.status_code

        refusal = whole({"error": "model 'm' not found"}, b"404 Not Found")
        assert await stage.perform(refusal, call()) == 404
        assert (await stage.counted()).requests == {"ollama other client_error http_4xx": 1}


async def test_stream_that_its_reader_leaves() -> None:
    """A stream that is left after its first token is cancelled."""
    async with staged() as stage, make_client(stage) as client:

        async def call() -> str:
            stream = await client.chat(MODEL, MESSAGES, stream=True)
            async for each in stream:
                await stream.aclose()
                return each.message.content or ""
            raise AssertionError("no text")

        script = lines(chat("21 "), close=Close.NEVER)
        assert await stage.perform(script, call()) == "21 "
        assert await stage.counted() == judged(
            "ollama",
            "cancelled client",
            output=1,
            source="events",
            records=1,
            cancels="between_tokens",
        )


@pytest.mark.parametrize("reason", ["load", "unload"])
async def test_models_are_loaded_and_unloaded(reason: str) -> None:
    """A request without a prompt, or without messages, asks for no output: control, not empty."""
    keep_alive = None if reason == "load" else 0
    of_generate = record(response="", done_reason=reason, done=True)
    of_chat = chat_end(reason)
    async with staged() as stage, make_client(stage) as client:
        generated = await stage.perform(
            whole(of_generate), client.generate(MODEL, keep_alive=keep_alive)
        )
        assert await stage.counted() == passed("control")
        said = await stage.perform(whole(of_chat), client.chat(MODEL, keep_alive=keep_alive))
        assert await stage.counted() == passed("control")
    assert (generated.done_reason, said.done_reason) == (reason, reason)


@pytest.mark.parametrize("reason", ["load", "unload"])
async def test_models_are_loaded_and_unloaded_by_streams(reason: str) -> None:
    """The same where it is answered as a stream of one line."""
    keep_alive = None if reason == "load" else 0
    async with staged() as stage, make_client(stage) as client:

        async def generate() -> list[str | None]:
            stream = await client.generate(MODEL, keep_alive=keep_alive, stream=True)
            return [each.done_reason async for each in stream]

        async def talk() -> list[str | None]:
            stream = await client.chat(MODEL, keep_alive=keep_alive, stream=True)
            return [each.done_reason async for each in stream]

        of_generate = record(response="", done_reason=reason, done=True)
        assert await stage.perform(lines(of_generate), generate()) == [reason]
        assert await stage.counted() == passed("control")
        assert await stage.perform(lines(chat_end(reason)), talk()) == [reason]
        assert await stage.counted() == passed("control")


async def test_embed() -> None:
    """Embeddings are forwarded and counted apart."""
    answer = {"model": MODEL, "embeddings": [[0.25, -0.5]], "prompt_eval_count": 4}
    async with staged() as stage, make_client(stage) as client:
        said = await stage.perform(whole(answer), client.embed(MODEL, ["a"]))
        assert await stage.counted() == passed("embedding")
    assert said.embeddings == [[0.25, -0.5]]


async def test_pull() -> None:
    """The progress of a download is a stream of the same media type, and no inference."""
    digest = "sha256:8eeb52dfb3bb9aefdf9d1ef24b3bdbcfbe82238798c4b918278320b6fcef18fe"
    script = lines(
        {"status": "pulling manifest"},
        {"status": "pulling 8eeb52dfb3bb", "digest": digest, "total": 9, "completed": 3},
        {"status": "success"},
    )
    async with staged() as stage, make_client(stage) as client:

        async def call() -> list[str | None]:
            return [step.status async for step in await client.pull(MODEL, stream=True)]

        statuses = await stage.perform(script, call())
        assert await stage.counted() == passed("load")
        await stage.perform(whole({"status": "success"}), client.pull(MODEL))
        assert await stage.counted() == passed("load")
        await stage.perform(script, _create(client))
        assert await stage.counted() == passed("load")
    assert statuses == ["pulling manifest", "pulling 8eeb52dfb3bb", "success"]


async def _create(client: ollama.AsyncClient) -> None:
    async for _ in await client.create("other", from_=MODEL, stream=True):
        pass


async def test_what_is_known_of_models() -> None:
    """Lists and descriptions are forwarded, on the same connections, and counted apart."""
    listed = {"models": [{"model": "m:latest", "size": 5}]}
    running = {"models": [{"model": "m:latest", "size": 5, "size_vram": 5}]}
    shown = {"template": "{{ .Prompt }}", "details": {"format": "gguf"}, "model_info": {}}
    async with staged() as stage, make_client(stage) as client:
        models = await stage.perform(whole(listed), client.list())
        loaded = await stage.perform(whole(running), client.ps())
        detail = await stage.perform(whole(shown), client.show(MODEL))
        assert await stage.counted() == Counted(passthrough={"metadata": 3})
        assert len(stage.proxy.upstream.peers) == 1
    assert [model.model for model in models.models] == ["m:latest"]
    assert [model.model for model in loaded.models] == ["m:latest"]
    assert detail.template == "{{ .Prompt }}"
