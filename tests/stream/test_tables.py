"""The dispatch tables: which path and which media type is read by whom."""

from __future__ import annotations

import pytest

from goodput_proxy.stream import Api, find_api, make_dialect, make_reader
from goodput_proxy.stream.framing import Record


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
    dialect = make_dialect(Api.CHAT, generates=True, echo=False)

    assert make_reader("text/event-stream", dialect, 1000) is not None
    assert make_reader("application/json", dialect, 1000) is None


def test_echo_is_a_record_of_its_own_in_chat_only() -> None:
    """Completions put the echo and the first token into one record, which counts."""
    record = Record(b'{"choices":[{"text":"prompt and token"}]}')

    assert make_dialect(Api.COMPLETIONS, generates=True, echo=True).read(record)
    assert not make_dialect(Api.CHAT, generates=True, echo=True).read(record)
