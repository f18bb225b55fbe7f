"""Bodies and records have the shapes that vLLM gives them."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from goodput_proxy.demo import shapes
from goodput_proxy.demo.shapes import ChatAnswer, ChatBody, CompletionAnswer, CompletionBody


def decoded(record: bytes) -> Any:
    assert record.startswith(b"data: ")
    assert record.endswith(b"\n\n")
    return json.loads(record.removeprefix(b"data: "))


def test_first_chat_token_brings_the_role_in_a_record_of_its_own() -> None:
    """The role comes with the first engine output, with empty content, before the content."""
    role, content = ChatAnswer(1, 1_790_000_000, "m", 9).records(0, None)
    assert role == (
        b'data: {"id":"chatcmpl-00000001","object":"chat.completion.chunk","created":1790000000,'
        b'"model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":""},'
        b'"logprobs":null,"finish_reason":null}]}\n\n'
    )
    assert decoded(content)["choices"][0]["delta"] == {"content": " the"}


def test_last_chat_token_is_followed_by_the_finish_record() -> None:
    """The finish reason stands in a closing record without content."""
    content, finish = ChatAnswer(1, 0, "m", 9).records(3, "stop")
    assert decoded(content)["choices"][0]["finish_reason"] is None
    assert decoded(finish)["choices"][0]["delta"] == {"content": ""}
    assert decoded(finish)["choices"][0]["finish_reason"] == "stop"


def test_completion_finish_shares_the_last_text() -> None:
    """A completion has no role and no closing record."""
    (record,) = CompletionAnswer(1, 0, "m", 9).records(0, "length")
    choice = decoded(record)["choices"][0]
    assert (choice["text"], choice["finish_reason"]) == (" the", "length")
    assert decoded(record)["object"] == "text_completion"


def test_a_record_may_hold_several_tokens() -> None:
    """The tokens of one step stand in one record, in the order of the answer."""
    (content,) = ChatAnswer(1, 0, "m", 9).records(2, None, count=3)
    assert decoded(content)["choices"][0]["delta"] == {"content": " is full and"}


def test_an_error_in_a_stream_is_a_record() -> None:
    """It has OpenAI's error object, as an answer of status 500 has it."""
    assert decoded(shapes.error_record("why"))["error"] == {
        "message": "why",
        "type": "InternalServerError",
        "param": None,
        "code": 500,
    }


def test_priority_below_zero_is_urgent() -> None:
    """The field is that of vLLM: lower is earlier, 0 is what everybody has."""
    asked = [CompletionBody(prompt="x", priority=priority) for priority in (None, 0, 1, -1)]
    assert [body.urgent for body in asked] == [False, False, False, True]


def test_usage_record_has_no_choices() -> None:
    """Usage comes by itself, with an empty list of choices."""
    record = decoded(ChatAnswer(1, 0, "m", 9).usage_record(4))
    assert record["choices"] == []
    assert record["usage"] == {"prompt_tokens": 9, "total_tokens": 13, "completion_tokens": 4}


@pytest.mark.parametrize("answer_type", [ChatAnswer, CompletionAnswer])
def test_streamed_text_is_the_whole_text(answer_type: type[shapes.Answer]) -> None:
    """An answer says the same, streamed or not."""
    answer = answer_type(1, 0, "m", 9)
    choices = [
        decoded(record)["choices"][0]
        for index in range(4)
        for record in answer.records(index, "length" if index == 3 else None)
    ]
    streamed = "".join(c["delta"]["content"] if "delta" in c else c["text"] for c in choices)
    whole = json.loads(answer.whole(4, "length"))
    choice = whole["choices"][0]
    assert (choice["message"]["content"] if "message" in choice else choice["text"]) == streamed
    assert choice["finish_reason"] == "length"
    assert whole["usage"]["completion_tokens"] == 4


def test_prompt_tokens_are_words() -> None:
    """Each word counts, and so does each message's role; parts without text count nothing."""
    body = msgspec.json.decode(
        b'{"messages":[{"role":"system","content":"be brief"},{"role":"user","content":'
        b'[{"type":"text","text":"one two three"},{"type":"image_url"}]},{"role":"assistant"}]}',
        type=ChatBody,
    )
    assert body.prompt_tokens == 2 + 3 + 3
    assert CompletionBody(prompt="one two").prompt_tokens == 2
    assert CompletionBody(prompt="").prompt_tokens == 1


def test_newer_token_limit_wins() -> None:
    """`max_completion_tokens` replaces `max_tokens` where both are given."""
    messages = [shapes.Message("user", "hi")]
    assert ChatBody(messages=messages).token_limit is None
    assert ChatBody(messages=messages, max_tokens=5).token_limit == 5
    assert ChatBody(messages=messages, max_tokens=5, max_completion_tokens=6).token_limit == 6
    assert CompletionBody(prompt="x", max_tokens=7).token_limit == 7
