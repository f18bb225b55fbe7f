"""The real `anthropic` SDK works through the proxy with no change but its base URL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anthropic
import pytest

from tests.integration.scripted import (
    MODEL,
    Close,
    collect,
    judged,
    passed,
    sse,
    staged,
    typed,
    whole,
)

if TYPE_CHECKING:
    from anthropic.types import Message, MessageParam, ToolParam

    from tests.integration.scripted import Stage

MESSAGES: list[MessageParam] = [{"role": "user", "content": "How warm is it in Århus?"}]
TOOLS: list[ToolParam] = [
    {
        "name": "weather",
        "description": "Tell the weather.",
        "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
    }
]
PING = typed({"type": "ping"})
STOP = typed({"type": "message_stop"})


def make_client(stage: Stage) -> anthropic.AsyncAnthropic:
    """Return a client that does not try again: the counts must be those of its calls."""
    return anthropic.AsyncAnthropic(
        base_url=stage.url,
        api_key="secret",
        max_retries=0,
        # Without TLS nobody has to read the authorities, which takes longer than most tests.
        http_client=anthropic.DefaultAsyncHttpxClient(trust_env=False, verify=False),
    )


def start(output_tokens: int = 1) -> bytes:
    """Return the record that begins a message; its output count is a placeholder."""
    usage = {"input_tokens": 25, "output_tokens": output_tokens}
    return typed({"type": "message_start", "message": message([], None, usage)})


def message(
    content: list[dict[str, Any]], stop_reason: str | None, usage: dict[str, int]
) -> dict[str, Any]:
    """Return a message as the API describes it."""
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": MODEL,
        "content": content,
        "stop_reason": stop_reason,
        "stop_sequence": None,
        "usage": usage,
    }


def block(index: int, begin: dict[str, Any], *deltas: dict[str, Any]) -> list[bytes]:
    """Return the records of one content block."""
    return [
        typed({"type": "content_block_start", "index": index, "content_block": begin}),
        *(typed({"type": "content_block_delta", "index": index, "delta": d}) for d in deltas),
        typed({"type": "content_block_stop", "index": index}),
    ]


def text_block(index: int, *texts: str) -> list[bytes]:
    """Return the records of a block of text."""
    deltas = ({"type": "text_delta", "text": text} for text in texts)
    return block(index, {"type": "text", "text": ""}, *deltas)


def ending(stop_reason: str, output_tokens: int) -> bytes:
    """Return the record that says why a message ended and what it cost."""
    return typed(
        {
            "type": "message_delta",
            "delta": {"stop_reason": stop_reason, "stop_sequence": None},
            "usage": {"output_tokens": output_tokens},
        }
    )


def text_of(answer: Message) -> str:
    """Return all text of a message."""
    return "".join(block.text for block in answer.content if block.type == "text")


async def test_message_stream() -> None:
    """A stream of text, with pings before the first token and between tokens."""
    first, *rest = text_block(0, "It is ", "21 °C", " \N{SUN BEHIND CLOUD}.")
    script = sse(start(), PING, first, PING, rest[0], PING, *rest[1:], ending("end_turn", 9), STOP)
    seen: list[str] = []
    async with staged() as stage, make_client(stage) as client:

        async def call() -> Message:
            async with client.messages.stream(
                model=MODEL, messages=MESSAGES, max_tokens=64
            ) as stream:
                seen.extend([text async for text in stream.text_stream])
                return await stream.get_final_message()

        answer = await stage.perform(script, call())
        assert await stage.counted() == judged("messages", output=9, prompt=25, records=3)
    assert seen == ["It is ", "21 °C", " \N{SUN BEHIND CLOUD}."]
    assert text_of(answer) == "".join(seen)
    assert answer.stop_reason == "end_turn"
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (25, 9)


async def test_message_stream_with_thinking() -> None:
    """Thoughts are output, their signature is none, and the stream cut off by its limit is good."""
    thoughts = block(
        0,
        {"type": "thinking", "thinking": "", "signature": ""},
        {"type": "thinking_delta", "thinking": "The user asks"},
        {"type": "thinking_delta", "thinking": " for °C."},
        {"type": "signature_delta", "signature": "c2lnbmF0dXJl"},
    )
    script = sse(start(), *thoughts, *text_block(1, "21"), ending("max_tokens", 8), STOP)
    async with staged() as stage, make_client(stage) as client:

        async def call() -> Message:
            async with client.messages.stream(
                model=MODEL,
                messages=MESSAGES,
                max_tokens=2000,
                thinking={"type": "enabled", "budget_tokens": 1024},
            ) as stream:
                return await stream.get_final_message()

        answer = await stage.perform(script, call())
        assert await stage.counted() == judged("messages", output=8, prompt=25, records=3)
    thinking = answer.content[0]
    assert thinking.type == "thinking"
    assert thinking.thinking == "The user asks for °C."
    assert thinking.signature == "c2lnbmF0dXJl"
    assert text_of(answer) == "21"
    assert answer.stop_reason == "max_tokens"


async def test_message_stream_with_a_tool_call() -> None:
    """A tool call is output from its name on; its first, empty piece of arguments is none."""
    call_block = block(
        1,
        {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {}},
        *(
            {"type": "input_json_delta", "partial_json": piece}
            for piece in ("", '{"city"', ': "Århus"', "}")
        ),
    )
    script = sse(start(), *text_block(0, "Wait."), *call_block, ending("tool_use", 31), STOP)
    async with staged() as stage, make_client(stage) as client:

        async def call() -> Message:
            async with client.messages.stream(
                model=MODEL, messages=MESSAGES, max_tokens=64, tools=TOOLS
            ) as stream:
                return await stream.get_final_message()

        answer = await stage.perform(script, call())
        # The text, the name of the tool, and three pieces of its arguments.
        assert await stage.counted() == judged("messages", output=31, prompt=25, records=5)
    used = answer.content[1]
    assert used.type == "tool_use"
    assert (used.id, used.name, used.input) == ("toolu_1", "weather", {"city": "Århus"})
    assert answer.stop_reason == "tool_use"


async def test_message_stream_as_records() -> None:
    """A server that begins its message with the first token, as vLLM does, and sends no ping."""
    script = sse(start(0), *text_block(0, "yes"), ending("end_turn", 1), STOP)
    async with staged() as stage, make_client(stage) as client:

        async def call() -> list[str]:
            stream = await client.messages.create(
                model=MODEL, messages=MESSAGES, max_tokens=1, stream=True
            )
            return [event.type async for event in stream]

        types = await stage.perform(script, call())
        # With one token there is no time per further token to be judged.
        due = judged("messages", "good_partial", output=1, prompt=25, records=1)
        assert await stage.counted() == due
    assert types == [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]


async def test_message() -> None:
    """A message in one piece, with all kinds of content."""
    content: list[dict[str, Any]] = [
        {"type": "thinking", "thinking": "Look it up.", "signature": "c2ln"},
        {"type": "text", "text": "Wait."},
        {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Århus"}},
    ]
    usage = {"input_tokens": 25, "output_tokens": 40}
    async with staged() as stage, make_client(stage) as client:
        answer = await stage.perform(
            whole(message(content, "tool_use", usage)),
            client.messages.create(model=MODEL, messages=MESSAGES, max_tokens=64, tools=TOOLS),
        )
        due = judged("messages", "good_partial", output=40, prompt=25)
        assert await stage.counted() == due
    assert [part.model_dump(exclude_none=True) for part in answer.content] == content
    assert answer.stop_reason == "tool_use"
    assert answer.usage.output_tokens == 40


@pytest.mark.parametrize("close", [Close.WITH, Close.NEVER])
async def test_error_inside_a_message_stream(close: Close) -> None:
    """An error record inside a 200 raises and is the server's fault, whoever hangs up first."""
    error = {"type": "overloaded_error", "message": "Overloaded"}
    begun = text_block(0, "It is ")[:2]
    script = sse(start(), *begun, PING, typed({"type": "error", "error": error}), close=close)
    seen: list[str] = []
    async with staged() as stage, make_client(stage) as client:

        async def call() -> None:
            async with client.messages.stream(
                model=MODEL, messages=MESSAGES, max_tokens=64
            ) as stream:
                with pytest.raises(anthropic.APIStatusError, match="Overloaded"):
                    await collect(stream.text_stream, seen)

        await stage.perform(script, call())
        assert await stage.counted() == judged(
            "messages",
            "error stream_error",
            output=1,
            prompt=25,
            source="events",
            records=1,
            cancels="between_tokens" if close is Close.NEVER else "",
        )
    assert seen == ["It is "]


async def test_overloaded_before_a_message() -> None:
    """A refusal with the API's own status raises the SDK's own error."""
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    async with staged() as stage, make_client(stage) as client:

        async def call() -> int:
            with pytest.raises(anthropic.APIStatusError) as caught:
                await client.messages.create(model=MODEL, messages=MESSAGES, max_tokens=64)
            return caught.value.status_code

        status = await stage.perform(whole(error, b"529 Overloaded"), call())
        counted = await stage.counted()
    assert status == 529
    # A model that was never answered gets no label of its own.
    assert counted.requests == {"messages other error http_5xx": 1}
    assert (counted.token_records, counted.tap_errors) == (0, {})


async def test_message_stream_that_its_reader_leaves() -> None:
    """A stream that is closed after its first token is cancelled."""
    begun = text_block(0, "It is ")[:2]
    async with staged() as stage, make_client(stage) as client:

        async def call() -> str:
            async with client.messages.stream(
                model=MODEL, messages=MESSAGES, max_tokens=64
            ) as stream:
                async for text in stream.text_stream:
                    return text
            raise AssertionError("no text")

        text = await stage.perform(sse(start(), *begun, close=Close.NEVER), call())
        assert await stage.counted() == judged(
            "messages",
            "cancelled client",
            output=1,
            prompt=25,
            source="events",
            records=1,
            cancels="between_tokens",
        )
    assert text == "It is "


async def test_count_tokens() -> None:
    """Counting a prompt's tokens generates nothing and is counted apart."""
    async with staged() as stage, make_client(stage) as client:
        counted = await stage.perform(
            whole({"input_tokens": 25}),
            client.messages.count_tokens(model=MODEL, messages=MESSAGES),
        )
        assert await stage.counted() == passed("tokenizer")
    assert counted.input_tokens == 25


async def test_models() -> None:
    """The list of models is forwarded and counted apart."""
    listed = {
        "data": [
            {
                "id": MODEL,
                "type": "model",
                "display_name": "M",
                "created_at": "2026-01-02T03:04:05Z",
            }
        ],
        "has_more": False,
        "first_id": MODEL,
        "last_id": MODEL,
    }
    async with staged() as stage, make_client(stage) as client:

        async def call() -> list[str]:
            return [model.id async for model in client.models.list()]

        assert await stage.perform(whole(listed), call()) == [MODEL]
        assert await stage.counted() == passed("metadata")
