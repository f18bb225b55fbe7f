"""What a request asks for: read from method, path and body, whatever the body is."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import pytest

from goodput_proxy.classify import UNKNOWN_MODEL, Ask, BodyCopy, classify, read_ask
from goodput_proxy.stream import Api


@pytest.mark.parametrize(
    ("method", "path", "api"),
    [
        ("POST", "/v1/chat/completions", Api.CHAT),
        ("POST", "/v1/completions", Api.COMPLETIONS),
        ("GET", "/v1/chat/completions", None),
        ("POST", "/v1/embeddings", None),
    ],
)
def test_only_posts_to_inference_paths_are_inference(
    method: str, path: str, api: Api | None
) -> None:
    """Method and path decide what is judged."""
    assert api is classify(method, path)


said = partial(Ask, stream=False)  # a readable body that does not ask for a stream


@pytest.mark.parametrize(
    ("fields", "ask"),
    [
        ({"model": "m"}, said("m")),
        ({"model": "m", "max_tokens": 1}, said("m")),
        ({"model": "m", "stream": True}, Ask("m")),
        ({"model": "m", "stream": "yes"}, said("m")),
        ({"model": "m", "max_tokens": 0, "max_completion_tokens": 5}, said("m")),
        ({"model": "m", "max_tokens": 0}, said("m", generates=False)),
        ({"model": "m", "max_completion_tokens": 0}, said("m", generates=False)),
        ({"model": "m", "max_tokens": False}, said("m")),
        ({"model": "m", "max_tokens": None}, said("m")),
        ({"model": "m", "echo": True}, said("m", echo=True)),
        ({"model": "m", "echo": "yes"}, said("m")),
        ({"model": ""}, said()),
        ({"model": 7}, said()),
        ({"model": "m" * 257}, said()),
        ({}, said()),
    ],
)
def test_fields_of_the_body(fields: dict[str, Any], ask: Ask) -> None:
    """Fields are read leniently: what has a wrong type was not said."""
    body = json.dumps({"messages": [{"content": 'a "model": "fake"'}], **fields}).encode()

    assert ask == read_ask(body)


@pytest.mark.parametrize(
    "body",
    [b"", b"not json", b'{"model": "\xff"}', b"[1]", b'"m"', b'{"x":' + b"[" * 100_000, b"\x00"],
)
def test_unreadable_bodies(body: bytes) -> None:
    """A body that cannot be read asks for nothing in particular."""
    assert Ask(UNKNOWN_MODEL) == read_ask(body)


def test_a_body_is_copied_up_to_its_bound() -> None:
    """A copy is whole or empty, never a part."""
    copy = BodyCopy(6)
    copy.add(b"abc")
    assert copy.take() == b"abc"
    copy = BodyCopy(6)
    copy.add(b"abc")
    copy.add(b"def")
    assert (copy.size, copy.overflowed, copy.take()) == (6, False, b"abcdef")
    copy = BodyCopy(6)
    for _ in range(3):
        copy.add(b"abc")
    assert (copy.size, copy.overflowed, copy.take()) == (9, True, b"")
