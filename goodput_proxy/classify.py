"""What a request asks for, read from its method, path and body; pure.

Everything that is not inference is forwarded and counted apart, by kind, and never enters the
ratio. Inference may turn out to be none when its body is read: a request for no output, or the
prefill leg of disaggregated serving, whose single token nobody waits for.

The body is a bounded copy of what was forwarded (see `body.py`). It is decoded typed and
partially: prompts are skipped in C and never become Python objects. A body that cannot be read
is no error: the request is forwarded all the same and counted with `model="unknown"`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

import msgspec

from .stream.decoding import UNREADABLE
from .stream.endpoints import ROOT, Endpoint, Streams, find_endpoint

UNKNOWN_MODEL = "unknown"

# Names of models are paths or repository ids; a longer one is not a name.
_MAX_MODEL_CHARS = 256


class Passthrough(StrEnum):
    """Why a request is outside the ratio; the value is the label `kind`."""

    HEALTH = "health"
    METADATA = "metadata"  # models, versions, metrics of the server
    TOKENIZER = "tokenizer"
    EMBEDDING = "embedding"  # answered once and no text; judged where a class names its path
    CONTROL = "control"  # of the engine, or an inference path that was asked for no output
    REPLAY = "replay"  # what was generated before, streamed again
    LOAD = "load"  # models that are pulled or loaded, with progress as a stream
    PREFILL = "prefill"  # the first leg of disaggregated serving
    TUNNEL = "tunnel"  # became another protocol that is not measured
    UNMEASURED = "unmeasured"  # inference that ended well while the meter was broken
    REFUSED = "refused"  # malformed: answered here and not forwarded
    OTHER = "other"


_GET = frozenset(("GET", "HEAD"))

# Tried from top to bottom against the end of a path; None stands for any method.
_ELSEWHERE: tuple[tuple[frozenset[str] | None, re.Pattern[str], Passthrough], ...] = tuple(
    (methods, re.compile(rf"(?:.*/)?(?:{path})"), kind)
    for methods, path, kind in (
        (_GET, r"responses/[^/]+", Passthrough.REPLAY),
        (_GET, r"v1/stream", Passthrough.REPLAY),
        (None, r"(?:api/(?:pull|push|create)|load_model|models/sse)", Passthrough.LOAD),
        (None, r"(?:health|health/.*|healthz|health_generate|ready|readyz)", Passthrough.HEALTH),
        (
            None,
            r"(?:live|livez|ping|v2/models/[^/]+(?:/versions/[^/]+)?/ready)",
            Passthrough.HEALTH,
        ),
        (_GET, r"", Passthrough.HEALTH),  # the root
        (None, r"(?:de|chat_)?tokenize|tokenizer_info|apply-template", Passthrough.TOKENIZER),
        (None, r"(?:count_tokens|input_tokens|render|derender)", Passthrough.TOKENIZER),
        (None, r"models/[^/]+:countTokens", Passthrough.TOKENIZER),
        (None, r"trace/setting", Passthrough.CONTROL),
        (None, r"streams/lookup", Passthrough.METADATA),
        (_GET, r"(?:metrics|perf_metrics|load|loads|slots|props)", Passthrough.METADATA),
        (_GET, r"(?:kv_event_sources|nodes/.*|version|info)", Passthrough.METADATA),
        (_GET, r"(?:get_)?(?:model|server)_info", Passthrough.METADATA),
        (_GET, r"(?:models|models/.*|tags|ps|metadata|license)", Passthrough.METADATA),
        (_GET, r"(?:docs|openapi\.json)", Passthrough.METADATA),
        (None, r"api/show", Passthrough.METADATA),
        (
            None,
            r"(?:(?:un)?load_lora_adapter|lora.*|sleep|wake_up|is_sleeping|terminate)",
            Passthrough.CONTROL,
        ),
        (
            None,
            r"(?:(?:pause|resume|continue)(?:_generation)?|(?:release|resume)_memory_occupation)",
            Passthrough.CONTROL,
        ),
        (
            None,
            r"(?:.*_profile|abort_requests?|flush_cache|reset_.*_cache|.*_weights.*)",
            Passthrough.CONTROL,
        ),
        (
            None,
            r"(?:responses/[^/]+/cancel|chat/completions/control|repository/.*|.*sharedmemory/.*)",
            Passthrough.CONTROL,
        ),
        (frozenset(("DELETE",)), r"(?:responses/[^/]+|v1/stream)", Passthrough.CONTROL),
    )
)


@dataclass(frozen=True, slots=True)
class Route:
    """Where an inference request goes by its head."""

    endpoint: Endpoint
    model: str = UNKNOWN_MODEL  # where the path names it


@dataclass(frozen=True, slots=True)
class Ask:
    """What the body of an inference request asks for."""

    model: str = UNKNOWN_MODEL
    stream: bool = True  # unknown counts as asked for: long prompts, the unreadable, mostly are
    echo: bool = False
    aside: Passthrough | None = None  # it is no inference, after all

    @property
    def generates(self) -> bool:
        """Whether output was asked for."""
        return self.aside is not Passthrough.CONTROL


@lru_cache(maxsize=1024)
def classify(method: str, path: str) -> Route | Passthrough:
    """Return where a request goes by its method and path, or what it counts as apart."""
    if method == "POST":
        if (endpoint := find_endpoint(path)) is not None:
            return _route(endpoint, path)
        if path == "/":
            return Route(ROOT)
    for methods, pattern, kind in _ELSEWHERE:
        if (methods is None or method in methods) and pattern.fullmatch(path):
            return kind
    return Passthrough.OTHER


def _route(endpoint: Endpoint, path: str) -> Route:
    found = endpoint.path.fullmatch(path)
    name = found.groupdict().get("model") if found else None
    return Route(endpoint, as_model(unquote(name or "")) or UNKNOWN_MODEL)


def as_model(value: Any) -> str | None:
    """Return a value that names a model, None when it is not a name."""
    named = isinstance(value, str) and 0 < len(value) <= _MAX_MODEL_CHARS
    return value if named else None


class _Body(msgspec.Struct):
    model: Any = None
    stream: Any = None
    echo: Any = None
    background: Any = None
    max_completion_tokens: Any = None
    max_tokens: Any = None
    max_output_tokens: Any = None
    n_predict: Any = None
    sampling_params: Any = None
    parameters: Any = None
    kv_transfer_params: Any = None
    inputs: msgspec.Raw = msgspec.Raw()  # seen, not read
    input: msgspec.Raw = msgspec.Raw()
    documents: msgspec.Raw = msgspec.Raw()
    text_1: msgspec.Raw = msgspec.Raw()
    messages: msgspec.Raw = msgspec.Raw()
    prompt: msgspec.Raw = msgspec.Raw()


_decode = msgspec.json.Decoder(_Body).decode

# Fields of a form, and their values, as far as a beginning of the form shows them (RFC 7578). The
# bounds keep a hostile form from costing the square of its length.
_FORM_FIELD = re.compile(
    rb'\bname="?(model|stream)"?(?:;[^\r\n]{0,256}+)?\r\n'
    rb"(?:[^\r\n]{1,256}+\r\n){0,8}+\r\n([^\r\n]{0,256})\r\n"
)


def read_ask(route: Route, content_type: str, body: bytes) -> Ask:
    """Return what a body asks for; the defaults where it does not say or is unreadable.

    Args:
        route: of the request; a model that its path names stands in for one in the body.
        content_type: of the body, as the request states it.
        body: JSON, its outline, or the beginning of a form.
    """
    streams = route.endpoint.streams
    if content_type.lower().startswith("multipart/form-data"):
        form = {name: value.decode("utf-8", "replace") for name, value in _FORM_FIELD.findall(body)}
        asked = form.get(b"stream", "").lower() in {"true", "1"}
        return Ask(as_model(form.get(b"model")) or route.model, asked)
    try:
        fields = _decode(body)
    except UNREADABLE:
        # At the root only a body can show that inference is meant.
        aside = Passthrough.OTHER if route.endpoint is ROOT else None
        return Ask(route.model, streams is not Streams.NEVER, aside=aside)
    return Ask(
        model=as_model(fields.model) or route.model,
        stream=_asks_for_stream(streams, fields.stream),
        echo=fields.echo is True,
        aside=_set_aside(route.endpoint, fields),
    )


def _asks_for_stream(streams: Streams, field: Any) -> bool:
    if streams is Streams.IF_ASKED:
        return field is True
    if streams is Streams.UNLESS_DECLINED:
        return field is not False
    return streams is Streams.ALWAYS


def _set_aside(endpoint: Endpoint, fields: _Body) -> Passthrough | None:
    """Return what a request is when its body shows that it is no inference."""
    limit = _token_limit(fields)
    transfer = fields.kv_transfer_params
    if isinstance(transfer, dict) and (
        transfer.get("do_remote_decode") is True
        or (limit == 1 and transfer.get("do_remote_prefill") is not True)
    ):
        return Passthrough.PREFILL
    if limit == 0 or (fields.background is True and fields.stream is not True):
        return Passthrough.CONTROL
    if endpoint is ROOT and not fields.inputs:
        return Passthrough.OTHER
    talks = fields.messages or fields.prompt or fields.inputs
    if endpoint.mixed and not talks and (fields.input or fields.documents or fields.text_1):
        return Passthrough.EMBEDDING  # or a score, or a ranking
    return None


def _token_limit(fields: _Body) -> int | None:
    """Return how many tokens of output are asked for at most, None when no limit is set."""
    limits = [fields.max_completion_tokens, fields.max_tokens, fields.max_output_tokens]
    limits.append(fields.n_predict)
    for nested in (fields.sampling_params, fields.parameters):
        if isinstance(nested, dict):
            limits += [nested.get("max_new_tokens"), nested.get("max_tokens")]
    for limit in limits:
        if limit is not None:
            return limit if type(limit) is int else None  # `False == 0`, hence the type
    return None
