"""The clients: the OpenAI SDK as users run it, and a plain one that can leave or compare bytes.

Owns: sending one request and noting what a client sees of it, the times included. Knows nothing of
the proxy, its metrics or what ought to be true.

Rule it keeps: the clock starts before the request is written and a time is taken when the client's
own code gets hold of a record, so what is noted here is never earlier than what a proxy in between
may have noted.
"""

from __future__ import annotations

import http.client
import json
import time
import urllib.parse
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import openai

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from openai.types.chat import ChatCompletionStreamOptionsParam

REQUEST_LIMIT_S = 60.0
CHAT, COMPLETIONS, RESPONSES = "/v1/chat/completions", "/v1/completions", "/v1/responses"
PROMPT = "Say something. Grüße!"
# What the server takes beside the fields of the API: an end token that no model has, so that an
# answer is as long as it may be.
ENDLESS = {
    "generation_config": json.dumps(
        {"eos_token_id": 100_000, "pad_token_id": 1, "min_new_tokens": 0, "do_sample": True}
    )
}


@dataclass(frozen=True, slots=True)
class Seen:
    """One finished request as its client saw it."""

    prompt_tokens: int
    completion_tokens: int
    content_records: int = 0
    ttft_s: float = 0.0
    e2e_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Answer:
    """One whole HTTP answer."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


class Sdk:
    """The OpenAI SDK pointed at one base address.

    Args:
        url: the address.
        model: the name that requests ask for.
        endless: whether an answer ends at its limit and never before.
        limit_s: how long to wait for an answer.
    """

    def __init__(
        self, url: str, model: str, *, endless: bool = False, limit_s: float = REQUEST_LIMIT_S
    ) -> None:
        self._model = model
        self._extra = ENDLESS if endless else None
        self._client = openai.OpenAI(
            base_url=f"{url}/v1",
            api_key="unused",
            max_retries=0,  # a retry would be a request that nobody counted on
            timeout=limit_s,
            http_client=openai.DefaultHttpxClient(trust_env=False),
        )

    def stream_chat(self, max_tokens: int, *, include_usage: bool) -> Seen:
        """Stream a chat answer."""
        start = time.monotonic()
        chunks = self._client.chat.completions.create(
            model=self._model,
            messages=[{"role": "user", "content": PROMPT}],
            max_tokens=max_tokens,
            stream=True,
            stream_options=_stream_options(include_usage=include_usage),
            extra_body=self._extra,
        )
        return _watch(
            start,
            ((bool(c.choices and c.choices[0].delta.content), c.usage) for c in chunks),
        )

    def stream_completion(self, max_tokens: int, *, include_usage: bool) -> Seen:
        """Stream an answer of the older completions API."""
        start = time.monotonic()
        chunks = self._client.completions.create(
            model=self._model,
            prompt=PROMPT,
            max_tokens=max_tokens,
            stream=True,
            stream_options=_stream_options(include_usage=include_usage),
            extra_body=self._extra,
        )
        return _watch(start, ((bool(c.choices and c.choices[0].text), c.usage) for c in chunks))

    def stream_response(self, max_tokens: int) -> Seen:
        """Stream an answer of the responses API."""
        start = time.monotonic()
        events = self._client.responses.create(
            model=self._model,
            input=PROMPT,
            max_output_tokens=max_tokens,
            stream=True,
            extra_body=self._extra,
        )
        return _watch(
            start,
            (
                (
                    event.type == "response.output_text.delta",
                    event.response.usage if event.type == "response.completed" else None,
                )
                for event in events
            ),
        )

    def chat(self, max_tokens: int) -> Seen:
        """Get a chat answer in one piece."""
        answer = self._client.chat.completions.create(
            model=self._model,
            messages=[{"role": "user", "content": PROMPT}],
            max_tokens=max_tokens,
            extra_body=self._extra,
        )
        return read_usage(answer.usage)

    def completion(self, max_tokens: int) -> Seen:
        """Get an answer of the older completions API in one piece."""
        answer = self._client.completions.create(
            model=self._model, prompt=PROMPT, max_tokens=max_tokens, extra_body=self._extra
        )
        return read_usage(answer.usage)

    def response(self, max_tokens: int) -> Seen:
        """Get an answer of the responses API in one piece; this server streams by default."""
        answer = self._client.responses.create(
            model=self._model,
            input=PROMPT,
            max_output_tokens=max_tokens,
            stream=False,
            extra_body=self._extra,
        )
        return read_usage(answer.usage)

    def models(self) -> int:
        """List the models and give how many there are."""
        return len(self._client.models.list().data)

    def close(self) -> None:
        """Close the connections that the SDK keeps."""
        self._client.close()


class Stream:
    """A streamed answer that is read record by record, and that its client may leave."""

    def __init__(self, url: str, path: str, body: dict[str, Any]) -> None:
        self.start = time.monotonic()
        self._connection = _connect(url)
        self._connection.request("POST", path, json.dumps(body), _HEADERS)
        self._response = self._connection.getresponse()
        self._records = self._read()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.leave()

    def record(self) -> tuple[float, dict[str, Any]]:
        """Read one record, and give it with its age."""
        for aged in self._records:
            return aged
        raise EOFError("the stream ended before the record that was waited for")

    def content(self, count: int) -> float:
        """Read until `count` records with text have come; give the age of the last of them."""
        age = 0.0
        while count:
            age, record = self.record()
            count -= has_text(record)
        return age

    def rest(self) -> list[tuple[float, dict[str, Any]]]:
        """Read everything that is still to come."""
        return list(self._records)

    def leave(self) -> None:
        """Close the connection, whatever is still to come."""
        self._response.close()
        self._connection.close()

    def _read(self) -> Iterator[tuple[float, dict[str, Any]]]:
        # Not line by line: http.client's readline() takes a broken connection for a clean end.
        pending = b""
        while piece := self._response.read1():
            age_s = time.monotonic() - self.start
            *lines, pending = (pending + piece).split(b"\n")
            for line in lines:
                if line.startswith(b"data:"):
                    yield age_s, json.loads(line[5:])


def exchange(url: str, path: str, body: dict[str, Any] | None = None, **headers: str) -> Answer:
    """Send one request on a connection of its own and read the whole answer."""
    connection = _connect(url)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    payload = None if body is None else json.dumps(body)
    try:
        connection.request("GET" if body is None else "POST", path, payload, _HEADERS | named)
        response = connection.getresponse()
        return Answer(response.status, response.getheaders(), response.read())
    finally:
        connection.close()


def send_and_leave(url: str, path: str, body: dict[str, Any], after_s: float) -> None:
    """Send a request and leave before any of its answer is read."""
    connection = _connect(url)
    connection.request("POST", path, json.dumps(body), _HEADERS)
    time.sleep(after_s)
    connection.close()


def has_text(record: dict[str, Any]) -> bool:
    """Say whether a record of any of the APIs brings generated text."""
    if record.get("type") == "response.output_text.delta":
        return bool(record["delta"])
    choices = record.get("choices") or [{}]
    return bool(choices[0].get("text") or (choices[0].get("delta") or {}).get("content"))


_HEADERS = {"content-type": "application/json"}


def _connect(url: str) -> http.client.HTTPConnection:
    parts = urllib.parse.urlsplit(url)
    return http.client.HTTPConnection(
        parts.hostname or "", parts.port or 80, timeout=REQUEST_LIMIT_S
    )


def _watch(start: float, chunks: Iterable[tuple[bool, Any]]) -> Seen:
    """Follow a stream of (brings text, usage) and note when its first and last text came."""
    ages: list[float] = []
    told: Any = None
    for brings_text, usage in chunks:
        if brings_text:
            ages.append(time.monotonic() - start)
        told = usage or told
    usage = read_usage(told)
    return Seen(usage.prompt_tokens, usage.completion_tokens, len(ages), ages[0], ages[-1])


def _stream_options(*, include_usage: bool) -> ChatCompletionStreamOptionsParam | openai.Omit:
    return {"include_usage": True} if include_usage else openai.omit


def read_usage(usage: Any) -> Seen:
    """Read a usage in the words of either generation of the API."""
    if hasattr(usage, "input_tokens"):
        return Seen(usage.input_tokens, usage.output_tokens)
    return Seen(usage.prompt_tokens, usage.completion_tokens)
