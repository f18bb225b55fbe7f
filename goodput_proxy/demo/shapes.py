"""The JSON of OpenAI's chat and completions APIs, in the shapes that vLLM gives them.

Pure: request bodies in, response bodies and SSE records out. Knows no HTTP and no engine. The rules
it keeps, as vLLM does: compact JSON; the role stands in a record of its own with `content: ""`,
sent with the first engine output; a chat's finish reason comes in a closing record, a completion's
on the last text; usage comes in a record with `choices: []`, only when it was asked for; the stream
ends with `[DONE]`. A word counts as a token, so that a reader can check the numbers by eye.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import msgspec

if TYPE_CHECKING:
    from .engine import FinishReason

MODEL = "demo-model"
DONE = b"data: [DONE]\n\n"
_SENTENCE = (
    "the batch is full and every answer still arrives but the first token of each one keeps its"
    " user waiting a little longer than the one before"
)
_WORDS = tuple(f" {word}" for word in _SENTENCE.split())

_PositiveInt = Annotated[int, msgspec.Meta(ge=1, le=16_384)]
_OnlyOne = Annotated[int, msgspec.Meta(ge=1, le=1)]


class StreamOptions(msgspec.Struct, frozen=True):
    """The part of `stream_options` that changes the answer."""

    include_usage: bool | None = None


class Body(msgspec.Struct, frozen=True, kw_only=True):
    """What both APIs share; fields that change nothing here are accepted and ignored."""

    model: str | None = None
    max_tokens: _PositiveInt | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: _OnlyOne | None = None
    priority: int | None = None

    @property
    def urgent(self) -> bool:
        """Whether it is served before others: vLLM's `priority`, where lower is earlier."""
        return (self.priority or 0) < 0

    @property
    @abstractmethod
    def prompt_tokens(self) -> int:
        """Words of the prompt."""

    @property
    def token_limit(self) -> int | None:
        """How many tokens to generate, None to leave it to the engine."""
        return self.max_tokens

    @property
    def include_usage(self) -> bool:
        """Whether the stream is to end with a usage record."""
        return bool(self.stream_options and self.stream_options.include_usage)


class Message(msgspec.Struct, frozen=True):
    """One message of a chat; content is text, a list of parts, or absent."""

    role: str
    content: str | list[dict[str, Any]] | None = None

    @property
    def text(self) -> str:
        """The words of the message."""
        if isinstance(self.content, list):
            return " ".join(str(part.get("text", "")) for part in self.content)
        return self.content or ""


class ChatBody(Body, frozen=True, kw_only=True):
    """Body of `POST /v1/chat/completions`."""

    messages: Annotated[list[Message], msgspec.Meta(min_length=1)]
    max_completion_tokens: _PositiveInt | None = None

    @property
    def prompt_tokens(self) -> int:
        """Words of all messages, and one for each role."""
        return sum(1 + len(message.text.split()) for message in self.messages)

    @property
    def token_limit(self) -> int | None:
        """As the older field says, unless the newer one is there."""
        return self.max_completion_tokens or self.max_tokens


class CompletionBody(Body, frozen=True, kw_only=True):
    """Body of `POST /v1/completions`, with one prompt."""

    prompt: str

    @property
    def prompt_tokens(self) -> int:
        """Words of the prompt, at least one."""
        return max(1, len(self.prompt.split()))


class Answer(ABC):
    """What one request gets back, as a stream of records or as one body."""

    whole_name: ClassVar[str]
    chunk_name: ClassVar[str]
    id_prefix: ClassVar[str]

    def __init__(self, serial: int, created_s: int, model: str, prompt_tokens: int) -> None:
        self._id = f"{self.id_prefix}-{serial:08x}"
        self._created_s = created_s
        self._model = model
        self._prompt_tokens = prompt_tokens

    @abstractmethod
    def records(
        self, index: int, finish_reason: FinishReason | None, count: int = 1
    ) -> list[bytes]:
        """Return the SSE records of a step's tokens, each record to be written by itself."""

    def usage_record(self, output_tokens: int) -> bytes:
        """Return the record that tells how many tokens there were."""
        return self._record([], usage=self._usage(output_tokens))

    def whole(self, output_tokens: int, finish_reason: FinishReason) -> bytes:
        """Return the answer as one body."""
        text = _text(0, output_tokens)
        choice = self._choice(finish_reason, **self._whole_text(text))
        usage = self._usage(output_tokens)
        return msgspec.json.encode(self._envelope(self.whole_name, [choice], usage=usage))

    @abstractmethod
    def _whole_text(self, text: str) -> dict[str, object]: ...

    def _choice(self, finish_reason: FinishReason | None, **content: object) -> dict[str, object]:
        return {"index": 0, **content, "logprobs": None, "finish_reason": finish_reason}

    def _record(self, choices: list[dict[str, object]], **extra: object) -> bytes:
        body = msgspec.json.encode(self._envelope(self.chunk_name, choices, **extra))
        return b"data: " + body + b"\n\n"

    def _envelope(
        self, object_name: str, choices: list[dict[str, object]], **extra: object
    ) -> dict[str, object]:
        return {
            "id": self._id,
            "object": object_name,
            "created": self._created_s,
            "model": self._model,
            "choices": choices,
            **extra,
        }

    def _usage(self, output_tokens: int) -> dict[str, int]:
        return {
            "prompt_tokens": self._prompt_tokens,
            "total_tokens": self._prompt_tokens + output_tokens,
            "completion_tokens": output_tokens,
        }


class ChatAnswer(Answer):
    """Answer of `POST /v1/chat/completions`."""

    whole_name = "chat.completion"
    chunk_name = "chat.completion.chunk"
    id_prefix = "chatcmpl"

    def records(
        self, index: int, finish_reason: FinishReason | None, count: int = 1
    ) -> list[bytes]:
        """Return the content, preceded by the role if it is the first, followed by the end."""
        records = [self._delta({"content": _text(index, count)})]
        if index == 0:
            records.insert(0, self._delta({"role": "assistant", "content": ""}))
        if finish_reason is not None:
            records.append(self._delta({"content": ""}, finish_reason))
        return records

    def _delta(self, delta: dict[str, str], finish_reason: FinishReason | None = None) -> bytes:
        return self._record([self._choice(finish_reason, delta=delta)])

    def _whole_text(self, text: str) -> dict[str, object]:
        return {"message": {"role": "assistant", "content": text}}


class CompletionAnswer(Answer):
    """Answer of `POST /v1/completions`."""

    whole_name = "text_completion"
    chunk_name = "text_completion"
    id_prefix = "cmpl"

    def records(
        self, index: int, finish_reason: FinishReason | None, count: int = 1
    ) -> list[bytes]:
        """Return the text record, which carries the finish reason if it is the last."""
        return [self._record([self._choice(finish_reason, text=_text(index, count))])]

    def _whole_text(self, text: str) -> dict[str, object]:
        return {"text": text}


# As vLLM names them.
_ERROR_TYPES = {400: "BadRequestError", 429: "TooManyRequests", 500: "InternalServerError"}


def error_body(message: str, status: int = 400) -> bytes:
    """Return OpenAI's error object, as vLLM fills it for a request that it does not serve."""
    error = {"message": message, "type": _ERROR_TYPES[status], "param": None, "code": status}
    return msgspec.json.encode({"error": error})


def error_record(message: str) -> bytes:
    """Return the record that tells of an error in a stream that has begun with a 200."""
    return b"data: " + error_body(message, 500) + b"\n\n"


def models_body(created_s: int) -> bytes:
    """Return the list of models: one, although any name in a request is served."""
    model = {"id": MODEL, "object": "model", "created": created_s, "owned_by": "goodput-proxy"}
    return msgspec.json.encode({"object": "list", "data": [model]})


def _text(index: int, count: int) -> str:
    """Return the text of tokens by the place of the first one in the answer."""
    return "".join(_WORDS[place % len(_WORDS)] for place in range(index, index + count))
