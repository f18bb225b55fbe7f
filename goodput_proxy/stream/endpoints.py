"""Which paths are inference, under which name they are counted, and who reads their answers.

The table is tried from top to bottom against the end of a path, because gateways, KServe and
`--root-path` put prefixes in front of `/v1`. A new API is one dialect file and one row here; the
table in docs/wire-formats.md is checked against this one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING

from .candidates import CandidatesDialect
from .choices import ChoicesDialect
from .detect import DetectingDialect
from .llamacpp import LlamaCppDialect
from .ollama import OllamaDialect
from .tensors import TensorsDialect
from .tgi import TgiDialect
from .typed import TypedDialect

if TYPE_CHECKING:
    from collections.abc import Callable

    from .dialect import Dialect


class Api(StrEnum):
    """An inference API; the value is the label `api`."""

    CHAT = "chat"
    COMPLETIONS = "completions"
    RESPONSES = "responses"
    MESSAGES = "messages"
    GENERATE = "generate"  # the engines' own: SGLang, LMDeploy, TGI, llama.cpp, Triton, vLLM
    OLLAMA = "ollama"
    GEMINI = "gemini"
    COHERE = "cohere"
    LMSTUDIO = "lmstudio"
    TRANSCRIPTIONS = "transcriptions"
    SPEECH = "speech"
    REALTIME = "realtime"
    EMBEDDINGS = "embeddings"  # all that answers once and generates nothing


class Streams(StrEnum):
    """How a request says that it wants its answer streamed."""

    IF_ASKED = "if_asked"  # by a field of its body
    UNLESS_DECLINED = "unless_declined"  # by a field too, but true when it is absent
    ALWAYS = "always"  # by its path
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One row: what ends the path, how the answer is read and counted."""

    path: re.Pattern[str]  # a group `model` where the path names the model
    api: Api
    dialect: Callable[[], Dialect]
    streams: Streams = Streams.IF_ASKED
    mixed: bool = False  # text or an embedding: the body has to tell

    @property
    def generates(self) -> bool:
        """Whether answers are made token by token, and so must not be empty."""
        return self.api is not Api.EMBEDDINGS


def _row(
    path: str,
    api: Api,
    dialect: Callable[[], Dialect],
    streams: Streams = Streams.IF_ASKED,
    *,
    mixed: bool = False,
) -> Endpoint:
    return Endpoint(re.compile(rf"(?:.*/)?{path}"), api, dialect, streams, mixed)


_MODEL = r"(?P<model>[^/:]+)"

ENDPOINTS: tuple[Endpoint, ...] = (
    # Azure names the model in the path.
    _row(rf"deployments/{_MODEL}/chat/completions", Api.CHAT, ChoicesDialect),
    _row(rf"deployments/{_MODEL}/completions", Api.COMPLETIONS, ChoicesDialect),
    _row(r"chat/completions", Api.CHAT, ChoicesDialect),
    _row(r"inference/chat_completion", Api.CHAT, ChoicesDialect),
    _row(r"v1/completions", Api.COMPLETIONS, ChoicesDialect),
    # llama.cpp answers in its own dialect here, others as under /v1.
    _row(r"completions", Api.COMPLETIONS, DetectingDialect),
    _row(r"responses", Api.RESPONSES, TypedDialect),
    _row(r"v1/messages", Api.MESSAGES, TypedDialect),
    _row(r"audio/(?:transcriptions|translations)", Api.TRANSCRIPTIONS, DetectingDialect),
    _row(r"audio/speech", Api.SPEECH, TypedDialect),
    _row(r"inference/v1/generate", Api.GENERATE, ChoicesDialect),
    _row(
        rf"models/{_MODEL}(?:/versions/[^/]+)?/generate_stream",
        Api.GENERATE,
        TensorsDialect,
        Streams.ALWAYS,
    ),
    _row(
        rf"models/{_MODEL}(?:/versions/[^/]+)?/generate",
        Api.GENERATE,
        TensorsDialect,
        Streams.NEVER,
    ),
    _row(rf"models/{_MODEL}:streamGenerateContent", Api.GEMINI, CandidatesDialect, Streams.ALWAYS),
    _row(rf"models/{_MODEL}:generateContent", Api.GEMINI, CandidatesDialect, Streams.NEVER),
    _row(r"v2/chat", Api.COHERE, TypedDialect),
    _row(r"api/v1/chat", Api.LMSTUDIO, TypedDialect),
    _row(r"api/(?:chat|generate)", Api.OLLAMA, OllamaDialect, Streams.UNLESS_DECLINED),
    _row(r"generate_stream", Api.GENERATE, TgiDialect, Streams.ALWAYS),
    _row(r"(?:generate|vertex_generate|vertex)", Api.GENERATE, DetectingDialect),
    _row(r"invocations", Api.GENERATE, DetectingDialect, mixed=True),
    _row(r"(?:completion|infill)", Api.GENERATE, LlamaCppDialect),
    # Answered once, and no text: judged only where a class names the path.
    *(
        _row(path, Api.EMBEDDINGS, DetectingDialect, Streams.NEVER)
        for path in (
            r"(?:embeddings?|embed|embed_all|embed_sparse|encode|pooling|similarity)",
            r"(?:classify|score|rerank|generative_scoring|decisions|systemone|predict)",
            r"(?:images/(?:generations|edits|variations)|videos)",
            rf"models/{_MODEL}(?:/versions/[^/]+)?/infer",
            rf"models/{_MODEL}:(?:predict|embedContent|batchEmbedContents)",
        )
    ),
)

# TGI answers at its root, where others answer health checks: the body has to tell.
ROOT = Endpoint(re.compile(r"/"), Api.GENERATE, DetectingDialect)


@lru_cache(maxsize=1024)
def find_endpoint(path: str) -> Endpoint | None:
    """Return the row whose answers a POST to `path` asks for, None when it is not inference."""
    for endpoint in ENDPOINTS:
        if endpoint.path.fullmatch(path):
            return endpoint
    return None


def is_realtime(path: str) -> bool:
    """Return whether a WebSocket at this path carries inference."""
    return path.endswith("/realtime")
