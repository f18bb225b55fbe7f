"""What a request asks for: read from method, path and body, whatever the body is."""

from __future__ import annotations

import json
import time
from functools import partial
from typing import Any

import pytest

from goodput_proxy.classify import (
    UNKNOWN_MODEL,
    Ask,
    Passthrough,
    Route,
    classify,
    read_ask,
)
from goodput_proxy.stream import Api
from goodput_proxy.stream.endpoints import ROOT

JSON = "application/json"


def route(path: str = "/v1/chat/completions") -> Route:
    """Return where a POST to an inference path goes."""
    found = classify("POST", path)
    assert isinstance(found, Route)
    return found


# By what counts them, the paths of servers that are no inference: of any method, GET or POST.
ANY_METHOD = {
    Passthrough.HEALTH: (
        "/health /healthz /ready /readyz /live /livez /ping /v1/health /v1/health/live"
        " /v1/health/ready /health/ready /v2/health/live /v2/health/ready /health_generate"
        " /v2/models/m/ready /v2/models/m/versions/2/ready"
    ),
    Passthrough.METADATA: "/api/show /v1/streams/lookup",
    Passthrough.TOKENIZER: (
        "/tokenize /detokenize /v1/tokenize /v1/detokenize /apply-template /chat_tokenize"
        " /tokenizer_info /v1/messages/count_tokens /v1/chat/completions/input_tokens"
        " /v1/chat/completions/render /v1/completions/render /v1/chat/completions/derender"
        " /v1/completions/derender /cohere/v2/chat/render"
    ),
    Passthrough.CONTROL: (
        "/v1/load_lora_adapter /v1/unload_lora_adapter /lora-adapters /sleep /wake_up"
        " /is_sleeping /update_weights_from_disk /init_weights_update_group /get_weights_by_name"
        " /release_memory_occupation /resume_memory_occupation /start_profile /stop_profile"
        " /abort_request /abort_requests /pause /resume /pause_generation /continue_generation"
        " /reset_prefix_cache /reset_mm_cache /flush_cache /v1/responses/r/cancel"
        " /v1/chat/completions/control /terminate /v2/repository/index"
        " /v2/systemsharedmemory/region/r/register /v2/cudasharedmemory/status"
        " /v2/trace/setting /v2/models/m/trace/setting"
    ),
    Passthrough.LOAD: "/api/pull /api/push /api/create /load_model /models/sse",
}
BY_GET = {
    Passthrough.METADATA: (
        "/metrics /v1/metrics /prometheus/metrics /perf_metrics /load /v1/loads /slots /props"
        " /kv_event_sources /nodes/n/x /version /v1/version /api/version /info /get_model_info"
        " /model_info /server_info /get_server_info /v1/models /v1/models/org/m /models"
        " /api/tags /api/ps /api/v0/models /api/v1/models /anthropic/v1/models /v1/metadata"
        " /v1/license /docs /openapi.json"
    ),
    Passthrough.REPLAY: "/v1/responses/r /v1/stream",
    Passthrough.HEALTH: "/",
}
EMBEDDINGS = (
    "/v1/embeddings /embeddings /api/embed /api/embeddings /v2/embed /embed /pooling /classify"
    " /score /v1/score /rerank /v1/rerank /v2/rerank /generative_scoring /v1/decisions"
    " /v1/systemone /encode /v2/models/m/infer /v2/models/m/versions/2/infer"
    " /v1/models/m:predict /v1/images/generations /v1/images/edits /v1/videos"
)


def rows(table: dict[Passthrough, str]) -> list[tuple[str, Passthrough]]:
    """Return a table's paths with what counts them."""
    return [(path, kind) for kind, paths in table.items() for path in paths.split()]


@pytest.mark.parametrize(("path", "kind"), rows(ANY_METHOD))
@pytest.mark.parametrize("prefix", ["", "/gateway"])
def test_what_is_not_inference_by_any_method(prefix: str, path: str, kind: Passthrough) -> None:
    """POST /ping is health too (vLLM), and tokenizers are asked by GET and POST."""
    for method in ("GET", "POST"):
        assert classify(method, prefix + path) is kind


@pytest.mark.parametrize(("path", "kind"), rows(BY_GET))
def test_what_is_not_inference_by_get(path: str, kind: Passthrough) -> None:
    """Health, load and metadata are read; HEAD asks the same."""
    assert classify("GET", path) is kind
    assert classify("HEAD", path) is kind
    if path != "/":
        assert classify("POST", path) is Passthrough.OTHER


@pytest.mark.parametrize("path", EMBEDDINGS.split())
def test_what_is_answered_once_and_generates_nothing(path: str) -> None:
    """These may be judged where a class names them, and are never taken for streams."""
    assert route(path).endpoint.api is Api.EMBEDDINGS
    assert not read_ask(route(path), JSON, b'{"stream":true}').stream
    assert isinstance(classify("GET", path), Passthrough)


@pytest.mark.parametrize(
    ("method", "path", "kind"),
    [
        ("DELETE", "/v1/responses/r", Passthrough.CONTROL),
        ("DELETE", "/v1/stream", Passthrough.CONTROL),
        ("GET", "/v1/chat/completions", Passthrough.OTHER),
        ("OPTIONS", "/v1/chat/completions", Passthrough.OTHER),
        ("GET", "/v1/realtime", Passthrough.OTHER),
        ("POST", "/v1/chat/completions/batch", Passthrough.OTHER),
        ("POST", "/v1/messages/batches", Passthrough.OTHER),
        ("DELETE", "/v1/models/m", Passthrough.OTHER),
        ("GET", "/favicon.ico", Passthrough.OTHER),
        ("GET", "*", Passthrough.OTHER),
    ],
)
def test_other_methods_and_paths(method: str, path: str, kind: Passthrough) -> None:
    """Only a POST to a known path is inference; what is unknown is counted apart."""
    assert classify(method, path) is kind


@pytest.mark.parametrize(
    ("path", "model"),
    [
        ("/v1/chat/completions", UNKNOWN_MODEL),
        ("/openai/deployments/gpt%2D5/chat/completions", "gpt-5"),
        ("/v2/models/m/generate_stream", "m"),
        ("/v1beta/models/gemini-3:streamGenerateContent", "gemini-3"),
        (f"/v2/models/{'m' * 257}/generate_stream", UNKNOWN_MODEL),
    ],
)
def test_a_model_in_the_path(path: str, model: str) -> None:
    """It is known before the body, and stands in for one there."""
    assert route(path).model == model
    assert read_ask(route(path), JSON, b"{}").model == model
    assert read_ask(route(path), JSON, b"\xff").model == model
    assert read_ask(route(path), JSON, b'{"model":"other"}').model == "other"


said = partial(Ask, stream=False)  # a readable body that does not ask for a stream
control = partial(said, aside=Passthrough.CONTROL)


@pytest.mark.parametrize(
    ("fields", "ask"),
    [
        ({"model": "m"}, said("m")),
        ({"model": "base:adapter"}, said("base:adapter")),
        ({"model": "m", "max_tokens": 1}, said("m")),
        ({"model": "m", "stream": True}, Ask("m")),
        ({"model": "m", "stream": "yes"}, said("m")),
        ({"model": "m", "max_tokens": 0, "max_completion_tokens": 5}, said("m")),
        ({"model": "m", "max_tokens": 5, "max_completion_tokens": 0}, control("m")),
        ({"model": "m", "max_tokens": 0}, control("m")),
        ({"model": "m", "max_output_tokens": 0}, control("m")),
        ({"n_predict": 0}, control()),
        ({"n_predict": -1}, said()),
        ({"sampling_params": {"max_new_tokens": 0}}, control()),
        ({"sampling_params": {"max_tokens": 0}}, control()),
        ({"parameters": {"max_new_tokens": 0}}, control()),
        ({"parameters": [], "sampling_params": "x"}, said()),
        ({"model": "m", "max_tokens": False}, said("m")),
        ({"model": "m", "max_tokens": None}, said("m")),
        ({"model": "m", "max_tokens": "0"}, said("m")),
        ({"model": "m", "echo": True}, said("m", echo=True)),
        ({"model": "m", "echo": "yes"}, said("m")),
        ({"background": True}, control()),
        ({"background": True, "stream": True}, Ask()),
        ({"model": ""}, said()),
        ({"model": 7}, said()),
        ({"model": "m" * 257}, said()),
        ({}, said()),
    ],
)
def test_fields_of_the_body(fields: dict[str, Any], ask: Ask) -> None:
    """Fields are read leniently: what has a wrong type was not said."""
    body = json.dumps({"messages": [{"content": 'a "model": "fake"'}], **fields}).encode()

    assert ask == read_ask(route(), JSON, body)
    assert ask.generates is (ask.aside is not Passthrough.CONTROL)


@pytest.mark.parametrize(
    ("path", "field", "stream"),
    [
        ("/v1/chat/completions", None, False),
        ("/api/chat", None, True),
        ("/api/generate", None, True),
        ("/api/generate", True, True),
        ("/api/generate", False, False),
        ("/generate", None, False),
        ("/generate", True, True),
        ("/generate_stream", None, True),
        ("/generate_stream", False, True),
        ("/v2/models/m/generate_stream", None, True),
        ("/v2/models/m/generate", True, False),
        ("/v1beta/models/m:streamGenerateContent", None, True),
        ("/v1beta/models/m:generateContent", None, False),
    ],
)
def test_what_asks_for_a_stream(path: str, field: object, stream: bool) -> None:  # noqa: FBT001
    """A field that is true, one that is not false, or the path."""
    fields = {} if field is None else {"stream": field}

    assert read_ask(route(path), JSON, json.dumps(fields).encode()).stream is stream


@pytest.mark.parametrize(
    ("fields", "aside"),
    [
        ({"kv_transfer_params": {"do_remote_decode": True}, "max_tokens": 1}, Passthrough.PREFILL),
        ({"kv_transfer_params": {"do_remote_decode": True}}, Passthrough.PREFILL),
        ({"kv_transfer_params": {}, "max_tokens": 1}, Passthrough.PREFILL),
        ({"kv_transfer_params": {"do_remote_prefill": True}, "max_tokens": 1}, None),
        ({"kv_transfer_params": {"do_remote_prefill": True}}, None),
        ({"kv_transfer_params": None, "max_tokens": 1}, None),
        ({"max_tokens": 1}, None),
    ],
)
def test_the_prefill_leg_is_nobodys_answer(fields: Any, aside: Passthrough | None) -> None:
    """Disaggregated serving asks the same path twice; only the second leg is waited for."""
    assert read_ask(route(), JSON, json.dumps(fields).encode()).aside is aside


@pytest.mark.parametrize(
    ("fields", "aside"),
    [
        ({"messages": []}, None),
        ({"prompt": "x"}, None),
        ({"inputs": "x"}, None),
        ({"input": "x", "messages": []}, None),
        ({"input": "x"}, Passthrough.EMBEDDING),
        ({"query": "x", "documents": ["y"]}, Passthrough.EMBEDDING),
        ({"text_1": "x", "text_2": "y"}, Passthrough.EMBEDDING),
        ({}, None),
    ],
)
def test_invocations_are_what_their_body_is(fields: Any, aside: Passthrough | None) -> None:
    """One path for chats, completions, embeddings and rankings."""
    assert read_ask(route("/invocations"), JSON, json.dumps(fields).encode()).aside is aside


@pytest.mark.parametrize(
    ("body", "ask"),
    [
        (b'{"inputs":"x","stream":true}', Ask()),
        (b'{"inputs":""}', said()),
        (b'{"stream":true}', Ask(aside=Passthrough.OTHER)),
        (b"", Ask(aside=Passthrough.OTHER)),
        (b"a=1", Ask(aside=Passthrough.OTHER)),
    ],
)
def test_the_root_is_inference_when_its_body_is(body: bytes, ask: Ask) -> None:
    """TGI generates where others answer anything at all."""
    assert route("/").endpoint is ROOT
    assert read_ask(route("/"), JSON, body) == ask


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"not json", b'{"model": "\xff"}', b"[1]", b'"m"', b'{"x":' + b"[" * 100_000),
        *(b"\x00", b"\x28\xb5\x2f\xfd\x04\x00", b"\x1f\x8b\x08\x00"),
    ],
)
def test_unreadable_bodies(body: bytes) -> None:
    """A body that cannot be read, or is compressed, asks for nothing in particular."""
    assert Ask(UNKNOWN_MODEL) == read_ask(route(), JSON, body)
    assert said() == read_ask(route("/v1/embeddings"), JSON, body)


def form(*fields: tuple[str, str], file_first: bool = False) -> bytes:
    """Return a form with a file, its fields in this order."""
    file = (
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n'
        b"Content-Type: audio/wav\r\n\r\n" + bytes(range(256)) * 20 + b"\r\n"
    )
    parts = [
        b'--b\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n' % (n.encode(), v.encode())
        for n, v in fields
    ]
    return b"".join([file, *parts] if file_first else [*parts, file]) + b"--b--\r\n"


@pytest.mark.parametrize(
    ("body", "ask"),
    [
        (form(("model", "m"), ("stream", "true")), Ask("m")),
        (form(("model", "m"), ("stream", "true"), file_first=True), Ask("m")),
        (form(("stream", "True"), ("language", "de")), Ask()),
        (form(("stream", "1")), Ask()),
        (form(("model", "m"), ("stream", "false")), said("m")),
        (form(("model", "m")), said("m")),
        (form(("my_model", "m"), ("model", "")), said()),
        (form(), said()),
        (b"--b\r\nContent-Disposition: form-data; name=model\r\nX: y\r\n\r\nm\r\n", said("m")),
        (form(("model", "m"))[:55], said()),
        (b"", said()),
    ],
)
def test_forms(body: bytes, ask: Ask) -> None:
    """Transcriptions are asked for by form, as far as its beginning shows them."""
    path = route("/v1/audio/transcriptions")

    assert read_ask(path, "Multipart/Form-Data; boundary=b", body) == ask


@pytest.mark.parametrize("line", [b'name="model"\r\n', b"name=model;", b'name="model"\r\nx\r\n'])
def test_a_hostile_form_costs_no_more_than_its_length(line: bytes) -> None:
    """64 KiB of fields that never end are read in the time of a few large prompts."""
    body = line * (64 * 1024 // len(line))
    begin = time.perf_counter()
    read_ask(route("/v1/audio/transcriptions"), "multipart/form-data; boundary=b", body)

    assert time.perf_counter() - begin < 0.5
