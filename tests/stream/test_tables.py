"""The dispatch tables: which path and which media type is read by whom."""

from __future__ import annotations

import pytest

from goodput_proxy.stream import Api, find_api, make_dialect, make_framer
from goodput_proxy.stream.framing import Record, SseFramer


@pytest.mark.parametrize(
    ("path", "api"),
    [
        ("/v1/chat/completions", Api.CHAT),
        ("/openai/v1/chat/completions", Api.CHAT),
        ("/v1/completions", Api.COMPLETIONS),
        ("/completions", Api.COMPLETIONS),
        ("/v1/completions/render", None),
        ("/v1/chat/completions/batch", None),
        ("/v1/models", None),
        ("/", None),
    ],
)
def test_paths_match_by_suffix(path: str, api: Api | None) -> None:
    """Prefixes of gateways do not matter; longer paths are other endpoints."""
    assert api is find_api(path)


def test_media_types() -> None:
    """Only event streams are framed."""
    assert isinstance(make_framer("text/event-stream", 1000), SseFramer)
    assert make_framer("application/json", 1000) is None


def test_echo_is_a_record_of_its_own_in_chat_only() -> None:
    """Completions put the echo and the first token into one record, which counts."""
    record = Record(b'{"choices":[{"text":"prompt and token"}]}')

    assert make_dialect(Api.COMPLETIONS, generates=True, echo=True).read(record)
    assert not make_dialect(Api.CHAT, generates=True, echo=True).read(record)
