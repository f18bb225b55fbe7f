"""Which paths are inference, whatever stands before them, and who reads their answers."""

from __future__ import annotations

import pytest

from goodput_proxy.stream.candidates import CandidatesDialect
from goodput_proxy.stream.choices import ChoicesDialect
from goodput_proxy.stream.detect import DetectingDialect
from goodput_proxy.stream.endpoints import ENDPOINTS, Api, Streams, find_endpoint, is_realtime
from goodput_proxy.stream.llamacpp import LlamaCppDialect
from goodput_proxy.stream.ollama import OllamaDialect
from goodput_proxy.stream.tensors import TensorsDialect
from goodput_proxy.stream.tgi import TgiDialect
from goodput_proxy.stream.typed import TypedDialect

IF_ASKED, ALWAYS, NEVER = Streams.IF_ASKED, Streams.ALWAYS, Streams.NEVER
UNLESS_DECLINED = Streams.UNLESS_DECLINED

TABLE = [
    ("/v1/chat/completions", Api.CHAT, ChoicesDialect, IF_ASKED),
    ("/inference/chat_completion", Api.CHAT, ChoicesDialect, IF_ASKED),
    ("/v1/completions", Api.COMPLETIONS, ChoicesDialect, IF_ASKED),
    ("/completions", Api.COMPLETIONS, DetectingDialect, IF_ASKED),
    ("/v1/responses", Api.RESPONSES, TypedDialect, IF_ASKED),
    ("/v1/messages", Api.MESSAGES, TypedDialect, IF_ASKED),
    ("/v1/audio/transcriptions", Api.TRANSCRIPTIONS, DetectingDialect, IF_ASKED),
    ("/v1/audio/translations", Api.TRANSCRIPTIONS, DetectingDialect, IF_ASKED),
    ("/v1/audio/speech", Api.SPEECH, TypedDialect, IF_ASKED),
    ("/inference/v1/generate", Api.GENERATE, ChoicesDialect, IF_ASKED),
    ("/cohere/v2/chat", Api.COHERE, TypedDialect, IF_ASKED),
    ("/v2/chat", Api.COHERE, TypedDialect, IF_ASKED),
    ("/api/v1/chat", Api.LMSTUDIO, TypedDialect, IF_ASKED),
    ("/api/chat", Api.OLLAMA, OllamaDialect, UNLESS_DECLINED),
    ("/api/generate", Api.OLLAMA, OllamaDialect, UNLESS_DECLINED),
    ("/generate", Api.GENERATE, DetectingDialect, IF_ASKED),
    ("/vertex_generate", Api.GENERATE, DetectingDialect, IF_ASKED),
    ("/vertex", Api.GENERATE, DetectingDialect, IF_ASKED),
    ("/invocations", Api.GENERATE, DetectingDialect, IF_ASKED),
    ("/completion", Api.GENERATE, LlamaCppDialect, IF_ASKED),
    ("/infill", Api.GENERATE, LlamaCppDialect, IF_ASKED),
    ("/generate_stream", Api.GENERATE, TgiDialect, ALWAYS),
    ("/v2/models/m/generate_stream", Api.GENERATE, TensorsDialect, ALWAYS),
    ("/v2/models/m/versions/2/generate_stream", Api.GENERATE, TensorsDialect, ALWAYS),
    ("/v2/models/m/generate", Api.GENERATE, TensorsDialect, NEVER),
    ("/v1beta/models/m:streamGenerateContent", Api.GEMINI, CandidatesDialect, ALWAYS),
    ("/v1beta/models/m:generateContent", Api.GEMINI, CandidatesDialect, NEVER),
    ("/v1/embeddings", Api.EMBEDDINGS, DetectingDialect, NEVER),
    ("/v2/models/m/infer", Api.EMBEDDINGS, DetectingDialect, NEVER),
    ("/v1/models/m:predict", Api.EMBEDDINGS, DetectingDialect, NEVER),
]


@pytest.mark.parametrize(("path", "api", "dialect", "streams"), TABLE)
@pytest.mark.parametrize("prefix", ["", "/gateway/tenant"])
def test_paths_match_by_their_end(
    prefix: str, path: str, api: Api, dialect: object, streams: Streams
) -> None:
    """Prefixes of gateways, of KServe and of root paths do not matter."""
    endpoint = find_endpoint(prefix + path)

    assert endpoint is not None
    assert (endpoint.api, endpoint.dialect, endpoint.streams) == (api, dialect, streams)
    assert endpoint.generates is (api is not Api.EMBEDDINGS)


@pytest.mark.parametrize(
    "path",
    [
        *("/openai/v1/chat/completions", "/api/v0/chat/completions", "/chat/completions"),
        *("/v1beta/openai/chat/completions", "/openai/deployments/d/chat/completions"),
    ],
)
def test_aliases_of_chat(path: str) -> None:
    """KServe, LM Studio, Gemini and Azure answer the same under names of their own."""
    endpoint = find_endpoint(path)

    assert endpoint is not None
    assert (endpoint.api, endpoint.dialect) == (Api.CHAT, ChoicesDialect)


@pytest.mark.parametrize(
    "path",
    [
        *("/", "", "/v1", "/v1/models", "/v1/chat", "/v1/chat/completions/"),
        *("/v1/chat/completions/batch", "/v1/chat/completions/render", "/v1/completions/render"),
        *("/v1/chat/completions/control", "/v1/messages/batches", "/v1/messages/count_tokens"),
        *("/v1/responses/r", "/v1/responses/r/cancel", "/xcompletions", "/regenerate"),
        *("/v1/chat/completionsx", "/messages"),
    ],
)
def test_longer_and_other_paths_are_not_inference(path: str) -> None:
    """A name must end the path, and be whole."""
    assert find_endpoint(path) is None


@pytest.mark.parametrize(
    ("path", "model"),
    [
        ("/openai/deployments/gpt%2D5/chat/completions", "gpt%2D5"),
        ("/deployments/d/completions", "d"),
        ("/v2/models/m/versions/2/generate_stream", "m"),
        ("/v1beta/models/gemini-3:streamGenerateContent", "gemini-3"),
        ("/v1/projects/p/publishers/google/models/gemini-3:generateContent", "gemini-3"),
        ("/v1/models/m:predict", "m"),
    ],
)
def test_some_paths_name_the_model(path: str, model: str) -> None:
    """There the body need not."""
    endpoint = find_endpoint(path)
    assert endpoint is not None
    found = endpoint.path.fullmatch(path)

    assert found is not None
    assert found["model"] == model


@pytest.mark.parametrize(
    ("path", "realtime"),
    [("/v1/realtime", True), ("/openai/v1/realtime", True), ("/v1/realtime/sessions", False)],
)
def test_realtime_is_known_by_its_path(path: str, realtime: bool) -> None:  # noqa: FBT001
    """A WebSocket there carries inference."""
    assert is_realtime(path) is realtime


def test_no_row_is_hidden_by_another() -> None:
    """The table is tried from the top: each of its rows is the answer to some path."""
    paths = [path for path, *_ in TABLE] + [
        *("/deployments/d/chat/completions", "/deployments/d/completions", "/rerank"),
        *("/v1/images/generations",),
    ]

    assert {find_endpoint(path) for path in paths} == set(ENDPOINTS)
