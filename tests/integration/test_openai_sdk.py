"""The real `openai` SDK works through the proxy with no change but its base URL.

Chat and completions are answered by the simulated server, what it does not speak by a script.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import openai
import pytest

from goodput_proxy.demo.engine import Profile
from goodput_proxy.demo.server import SimulatedServer
from tests.integration.fake_upstream import FakeUpstream
from tests.integration.harness import DONE, RunningProxy
from tests.integration.scripted import (
    MODEL,
    Close,
    Script,
    collect,
    data,
    judged,
    passed,
    sse,
    staged,
    typed,
    whole,
)
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from openai.types.chat import (
        ChatCompletionChunk,
        ChatCompletionFunctionToolParam,
        ChatCompletionUserMessageParam,
        ParsedChatCompletion,
    )
    from openai.types.responses import FunctionToolParam, Response, ResponseStreamEvent

    from tests.integration.scripted import Stage

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


def make_client(proxy: RunningProxy | Stage) -> openai.AsyncOpenAI:
    """Return a client that does not try again: the counts must be those of its calls."""
    url = proxy.app.proxy_url if isinstance(proxy, RunningProxy) else proxy.url
    return openai.AsyncOpenAI(
        base_url=f"{url}/v1",
        api_key="secret",
        max_retries=0,
        # Without TLS nobody has to read the authorities, which takes longer than most tests.
        http_client=openai.DefaultAsyncHttpxClient(trust_env=False, verify=False),
    )


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


PARAMETERS: dict[str, object] = {"type": "object", "properties": {"city": {"type": "string"}}}
CHAT_TOOL: ChatCompletionFunctionToolParam = {
    "type": "function",
    "function": {"name": "weather", "parameters": PARAMETERS},
}
USAGE = {"prompt_tokens": 17, "completion_tokens": 12, "total_tokens": 29}


def chat_chunk(*choices: dict[str, Any], **more: Any) -> bytes:
    """Return a record of a chat stream as vLLM writes it."""
    return data(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion.chunk",
            "created": 1790000000,
            "model": MODEL,
            "choices": list(choices),
            **more,
        }
    )


def chat_delta(reason: str | None = None, **delta: Any) -> bytes:
    """Return a record of the only choice of a chat stream."""
    return chat_chunk({"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason})


def call_delta(**call: Any) -> bytes:
    """Return a record with a piece of the only tool call."""
    return chat_delta(tool_calls=[{"index": 0, **call}])


@pytest.mark.parametrize("reasoning", ["reasoning", "reasoning_content"])
async def test_chat_stream_with_reasoning_and_a_tool_call(reasoning: str) -> None:
    """Reasoning is output under either name, and a tool call is from its name on."""
    script = sse(
        b": keep-alive\n\n",
        chat_delta(role="assistant", content=""),
        chat_delta(**{reasoning: "Look"}),
        chat_delta(**{reasoning: " it up."}),
        call_delta(id="call_1", type="function", function={"name": "weather", "arguments": ""}),
        call_delta(function={"arguments": '{"city"'}),
        call_delta(function={"arguments": ': "Århus"}'}),
        chat_delta("tool_calls"),
        chat_chunk(usage=USAGE),
        DONE,
    )
    thoughts: list[str] = []
    async with staged() as stage, make_client(stage) as client:

        async def call() -> ParsedChatCompletion[None]:
            async with client.chat.completions.stream(
                model=MODEL,
                messages=MESSAGES,
                tools=[CHAT_TOOL],
                stream_options={"include_usage": True},
            ) as stream:
                async for event in stream:
                    if event.type == "chunk" and event.chunk.choices:
                        extra = event.chunk.choices[0].delta.model_extra or {}
                        thoughts.append(extra.get(reasoning, ""))
                return await stream.get_final_completion()

        answer = await stage.perform(script, call())
        assert await stage.counted() == judged("chat", output=12, prompt=17, records=5)
    assert "".join(thoughts) == "Look it up."
    assert answer.choices[0].message.tool_calls
    called = answer.choices[0].message.tool_calls[0]
    assert (called.id, called.function.name) == ("call_1", "weather")
    assert called.function.arguments == '{"city": "Århus"}'
    assert answer.choices[0].finish_reason == "tool_calls"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 12


async def test_chat_with_reasoning_and_a_tool_call() -> None:
    """An answer in one piece that has no content is not empty."""
    function = {"name": "weather", "arguments": '{"city": "Århus"}'}
    message = {
        "role": "assistant",
        "content": None,
        "reasoning": "Look it up.",
        "tool_calls": [{"id": "call_1", "type": "function", "function": function}],
    }
    script = whole(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1790000000,
            "model": MODEL,
            "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}],
            "usage": USAGE,
        }
    )
    async with staged() as stage, make_client(stage) as client:
        answer = await stage.perform(
            script,
            client.chat.completions.create(model=MODEL, messages=MESSAGES, tools=[CHAT_TOOL]),
        )
        assert await stage.counted() == judged("chat", "good_partial", output=12, prompt=17)
    assert answer.choices[0].message.tool_calls
    called = answer.choices[0].message.tool_calls[0]
    assert called.type == "function"
    assert called.function.model_dump() == function


async def test_chat_stream_of_two_choices() -> None:
    """Choices that are interleaved are one request, finished when both are."""

    def say(index: int, reason: str | None = None, **delta: Any) -> bytes:
        return chat_chunk({"index": index, "delta": delta, "finish_reason": reason})

    script = sse(
        *(say(0, role="assistant", content=""), say(1, role="assistant", content="")),
        *(say(0, content="yes"), say(1, content="no"), say(0, "stop"), say(1, content="!")),
        *(say(1, "stop"), chat_chunk(usage=USAGE), DONE),
    )
    async with staged() as stage, make_client(stage) as client:

        async def call() -> list[str]:
            texts = ["", ""]
            stream = await client.chat.completions.create(
                model=MODEL, messages=MESSAGES, n=2, stream=True
            )
            async for chunk in stream:
                for choice in chunk.choices:
                    texts[choice.index] += choice.delta.content or ""
            return texts

        assert await stage.perform(script, call()) == ["yes", "no!"]
        # Three tokens, of which two are the first of their choice: one gap.
        assert await stage.counted() == judged("chat", output=12, prompt=17, records=2)


@pytest.mark.parametrize("close", [Close.WITH, Close.NEVER])
async def test_error_inside_a_chat_stream(close: Close) -> None:
    """An error record inside a 200 raises and is the server's fault, whoever hangs up first."""
    error = {"message": "out of memory", "type": "InternalServerError", "param": None, "code": 500}
    script = sse(
        chat_delta(role="assistant", content=""),
        chat_delta(content="yes"),
        data({"error": error}) + DONE,
        close=close,
    )
    seen: list[ChatCompletionChunk] = []
    async with staged() as stage, make_client(stage) as client:

        async def call() -> None:
            stream = await client.chat.completions.create(
                model=MODEL, messages=MESSAGES, stream=True
            )
            with pytest.raises(openai.APIError, match="out of memory"):
                await collect(stream, seen)

        await stage.perform(script, call())
        # A stream that says `[DONE]`, even after an error, has ended: nobody left it early.
        assert await stage.counted() == judged(
            "chat",
            "error stream_error",
            output=1,
            source="events",
            records=1,
            cancels="after_last_token" if close is Close.NEVER else "",
        )
    assert [chunk.choices[0].delta.content for chunk in seen] == ["", "yes"]


RESPONSE_TOOL: FunctionToolParam = {
    "type": "function",
    "name": "weather",
    "parameters": PARAMETERS,
    "strict": False,
}


def response(
    status: str, *output: dict[str, Any], cost: dict[str, int] | None = None, **more: Any
) -> dict[str, Any]:
    """Return a response as the API describes it, with its request repeated in it."""
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1790000003,
        "status": status,
        "model": MODEL,
        "output": list(output),
        "instructions": 'Say "delta":"x" or "content":"y"',
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": cost,
        **more,
    }


def cost(output_tokens: int) -> dict[str, int]:
    """Return a usage of the responses API."""
    return {"input_tokens": 11, "output_tokens": output_tokens, "total_tokens": 11 + output_tokens}


def numbered(*events: dict[str, Any]) -> list[bytes]:
    """Return records of typed events with their numbers."""
    return [typed({**event, "sequence_number": n}) for n, event in enumerate(events)]


def text_item(text: str, status: str = "completed") -> dict[str, Any]:
    """Return a message of a response."""
    part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "content": [part] if text else [],
        "status": status,
    }


def text_events(*texts: str) -> list[dict[str, Any]]:
    """Return the events of a message; what was said is repeated three times at its end."""
    at = {"item_id": "msg_1", "output_index": 0}
    part = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
    text = "".join(texts)
    return [
        {
            "type": "response.output_item.added",
            "output_index": 0,
            "item": text_item("", "in_progress"),
        },
        {"type": "response.content_part.added", **at, "content_index": 0, "part": part},
        *(
            {
                "type": "response.output_text.delta",
                **at,
                "content_index": 0,
                "delta": delta,
                "logprobs": [],
                "obfuscation": "k3Zq0",
            }
            for delta in texts
        ),
        {
            "type": "response.output_text.done",
            **at,
            "content_index": 0,
            "text": text,
            "logprobs": [],
        },
        {
            "type": "response.content_part.done",
            **at,
            "content_index": 0,
            "part": part | {"text": text},
        },
        {"type": "response.output_item.done", "output_index": 0, "item": text_item(text)},
    ]


BEGIN = (
    {"type": "response.created", "response": response("in_progress")},
    {"type": "response.in_progress", "response": response("in_progress")},
)


@pytest.mark.parametrize("end", ["completed", "incomplete"])
async def test_response_stream(end: str) -> None:
    """A response's deltas are its tokens; what repeats them is not, nor is the request in it."""
    texts = ["It is ", "21 °C", " \N{CLOUD}"]
    ended = response(end, text_item("".join(texts)), cost=cost(7))
    script = sse(
        *numbered(*BEGIN, *text_events(*texts), {"type": f"response.{end}", "response": ended})
    )
    deltas: list[str] = []
    async with staged() as stage, make_client(stage) as client:

        async def call() -> Response:
            async with client.responses.stream(model=MODEL, input="How warm?") as stream:
                async for event in stream:
                    if event.type == "response.output_text.delta":
                        deltas.append(event.delta)
                    if event.type in {"response.completed", "response.incomplete"}:
                        return event.response
            raise AssertionError("no end")

        answer = await stage.perform(script, call())
        assert await stage.counted() == judged("responses", output=7, prompt=11, records=3)
    assert deltas == texts
    assert answer.output_text == "".join(texts)
    assert answer.status == end
    assert answer.usage is not None
    assert answer.usage.output_tokens == 7


async def test_response_stream_with_reasoning_and_a_tool_call() -> None:
    """Reasoning and the arguments of a call are output, and items that begin or end are not."""
    thought = {"item_id": "rs_1", "output_index": 0, "summary_index": 0}
    reasoning = {"id": "rs_1", "type": "reasoning", "summary": []}
    made = {"item_id": "fc_1", "output_index": 1}
    item = {"id": "fc_1", "type": "function_call", "call_id": "call_1", "name": "weather"}
    pieces = ('{"city":', ' "Århus"}')
    called = {**item, "arguments": "".join(pieces), "status": "completed"}
    summed = {**reasoning, "summary": [{"type": "summary_text", "text": "Look it up."}]}
    done = response("completed", summed, called, cost=cost(19))
    script = sse(
        *numbered(
            *BEGIN,
            {"type": "response.output_item.added", "output_index": 0, "item": reasoning},
            *(
                {"type": "response.reasoning_summary_text.delta", **thought, "delta": delta}
                for delta in ("Look", " it up.")
            ),
            {"type": "response.reasoning_summary_text.done", **thought, "text": "Look it up."},
            {"type": "response.output_item.done", "output_index": 0, "item": summed},
            {
                "type": "response.output_item.added",
                "output_index": 1,
                "item": {**item, "arguments": "", "status": "in_progress"},
            },
            *(
                {"type": "response.function_call_arguments.delta", **made, "delta": delta}
                for delta in pieces
            ),
            {"type": "response.function_call_arguments.done", **made, "arguments": "".join(pieces)},
            {"type": "response.output_item.done", "output_index": 1, "item": called},
            {"type": "response.completed", "response": done},
        )
    )
    async with staged() as stage, make_client(stage) as client:

        async def call() -> list[ResponseStreamEvent]:
            stream = await client.responses.create(
                model=MODEL, input="How warm?", tools=[RESPONSE_TOOL], stream=True
            )
            return [event async for event in stream]

        events = await stage.perform(script, call())
        assert await stage.counted() == judged("responses", output=19, prompt=11, records=4)
    assert events[-1].type == "response.completed"
    call_item = events[-1].response.output[1]
    assert call_item.type == "function_call"
    assert (call_item.name, call_item.arguments) == ("weather", '{"city": "Århus"}')


async def test_response_stream_that_fails() -> None:
    """A response that failed is the server's fault, although its stream has ended well."""
    error = {"code": "server_error", "message": "The model failed"}
    failed = {"type": "response.failed", "response": response("failed", error=error)}
    script = sse(*numbered(*BEGIN, *text_events("It is ")[:3], failed))
    async with staged() as stage, make_client(stage) as client:

        async def call() -> list[ResponseStreamEvent]:
            stream = await client.responses.create(model=MODEL, input="How warm?", stream=True)
            return [event async for event in stream]

        events = await stage.perform(script, call())
        assert await stage.counted() == judged(
            "responses", "error stream_error", output=1, source="events", records=1
        )
    assert events[-1].type == "response.failed"


async def test_response() -> None:
    """A response in one piece."""
    script = whole(response("completed", text_item("21 °C"), cost=cost(5)))
    async with staged() as stage, make_client(stage) as client:
        answer = await stage.perform(
            script, client.responses.create(model=MODEL, input="How warm?")
        )
        assert await stage.counted() == judged("responses", "good_partial", output=5, prompt=11)
    assert answer.output_text == "21 °C"


# More than the proxy keeps of a body: the fields stand in front of the file.
AUDIO = ("speech.wav", bytes(range(256)) * 1200, "audio/wav")


async def test_transcription_stream() -> None:
    """A form is streamed in and typed events are streamed out."""
    usage = {"type": "tokens", "input_tokens": 30, "output_tokens": 4, "total_tokens": 34}
    script = sse(
        data({"type": "transcript.text.delta", "delta": "The"}),
        data({"type": "transcript.text.delta", "delta": " trän"}),
        data({"type": "transcript.text.done", "text": "The trän", "usage": usage}),
        DONE,
    )
    deltas: list[str] = []
    async with staged() as stage, make_client(stage) as client:

        async def call() -> str:
            stream = await client.audio.transcriptions.create(model=MODEL, file=AUDIO, stream=True)
            async for event in stream:
                if event.type == "transcript.text.delta":
                    deltas.append(event.delta)
                elif event.type == "transcript.text.done":
                    return event.text
            raise AssertionError("no end")

        text = await stage.perform(script, call())
        assert await stage.counted() == judged("transcriptions", output=4, prompt=30, records=2)
    assert AUDIO[1] in stage.request
    assert deltas == ["The", " trän"]
    assert text == "The trän"


async def test_transcription_stream_of_chunks() -> None:
    """A server that answers a form with choices, as vLLM does, without their index."""

    def say(*choices: dict[str, Any], **more: Any) -> bytes:
        kind = {"id": "trsc-1", "object": "transcription.chunk", "created": 1790000004}
        return data({**kind, "choices": list(choices), "model": MODEL, **more})

    script = sse(
        say({"delta": {"content": " The"}}),
        say({"delta": {"content": " train."}, "finish_reason": "stop", "stop_reason": None}),
        say(usage=USAGE),
        DONE,
    )
    async with staged() as stage, make_client(stage) as client:

        async def call() -> list[dict[str, Any]]:
            stream = await client.audio.transcriptions.create(model=MODEL, file=AUDIO, stream=True)
            return [event.model_dump(exclude_none=True) async for event in stream]

        said = await stage.perform(script, call())
        assert await stage.counted() == judged("transcriptions", output=12, prompt=17, records=2)
    texts = [choice["delta"]["content"] for each in said for choice in each["choices"]]
    assert texts == [" The", " train."]


@pytest.mark.parametrize("counted_by", ["tokens", "duration"])
async def test_transcription(counted_by: str) -> None:
    """A transcription in one piece, by a server that counts tokens, and one that counts seconds."""
    by_tokens = counted_by == "tokens"
    usage = {"type": "tokens", "input_tokens": 30, "output_tokens": 4, "total_tokens": 34}
    script = whole(
        {"text": "The trän", "usage": usage if by_tokens else {"type": "duration", "seconds": 2}}
    )
    async with staged() as stage, make_client(stage) as client:
        answer = await stage.perform(
            script, client.audio.transcriptions.create(model=MODEL, file=AUDIO)
        )
        due = judged("transcriptions", "good_partial", output=1, source="events")
        if by_tokens:
            due = judged("transcriptions", "good_partial", output=4, prompt=30)
        assert await stage.counted() == due
    assert answer.text == "The trän"


async def test_embeddings() -> None:
    """Embeddings are forwarded and counted apart."""
    script = whole(
        {
            "object": "list",
            "data": [{"object": "embedding", "index": 0, "embedding": [0.25, -0.5]}],
            "model": MODEL,
            "usage": {"prompt_tokens": 4, "total_tokens": 4},
        }
    )
    async with staged() as stage, make_client(stage) as client:
        answer = await stage.perform(
            script, client.embeddings.create(model=MODEL, input="a", encoding_format="float")
        )
        assert await stage.counted() == passed("embedding")
    assert answer.data[0].embedding == [0.25, -0.5]


async def test_transcription_as_text() -> None:
    """A form may ask for bare text: it is the output itself, and is timed to its last byte."""
    script = Script((b"The tr\xc3\xa4n\n",), b"text/plain; charset=utf-8")
    async with staged() as stage, make_client(stage) as client:
        text = await stage.perform(
            script,
            client.audio.transcriptions.create(model=MODEL, file=AUDIO, response_format="text"),
        )
        counted = await stage.counted()
    assert text == "The trän\n"
    assert counted.requests == judged("transcriptions", "good_partial").requests
    assert counted.tap_errors == {}


async def test_speech() -> None:
    """Audio is output without tokens."""
    script = Script((AUDIO[1],), b"audio/wav")
    async with staged() as stage, make_client(stage) as client:
        answer = await stage.perform(
            script, client.audio.speech.create(model=MODEL, voice="alloy", input="Good day")
        )
        assert await stage.counted() == judged("speech", "good_partial")
    assert answer.content == AUDIO[1]


async def test_what_is_not_inference() -> None:
    """Responses that are looked up, stopped or only weighed are counted by what they are."""
    script = whole(response("completed", text_item("21 °C"), cost=cost(5)))
    weighed = whole({"object": "response.input_tokens", "input_tokens": 11})
    async with staged() as stage, make_client(stage) as client:
        found = await stage.perform(script, client.responses.retrieve("resp_1"))
        assert await stage.counted() == passed("replay")
        await stage.perform(script, client.responses.cancel("resp_1"))
        assert await stage.counted() == passed("control")
        await stage.perform(script, client.responses.delete("resp_1"))
        assert await stage.counted() == passed("control")
        weight = await stage.perform(
            weighed, client.responses.input_tokens.count(model=MODEL, input="How warm?")
        )
        assert await stage.counted() == passed("tokenizer")
    assert found.output_text == "21 °C"
    assert weight.input_tokens == 11


async def test_response_in_the_background() -> None:
    """A response that is only ordered is answered before it is made: control, not inference."""
    script = whole(response("queued"))
    async with staged() as stage, make_client(stage) as client:
        answer = await stage.perform(
            script, client.responses.create(model=MODEL, input="How warm?", background=True)
        )
        assert await stage.counted() == passed("control")
    assert answer.status == "queued"
