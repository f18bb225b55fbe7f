"""Which class a request would fall in, and why: the text that asks, and the answer."""

from __future__ import annotations

from typing import Any

import pytest

from goodput_proxy.explain import Sample, explain, parse_sample
from goodput_proxy.policy import build_policy
from goodput_proxy.settings import Settings

CHAT = "/v1/chat/completions"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("model=m", Sample("", CHAT, "m")),
        ("method=get,path=/x?a=b,model=", Sample("GET", "/x?a=b", "")),
        (
            "header=X-Tenant: gold ,model=m,header=b:",
            Sample("", CHAT, "m", ((b"X-Tenant", b"gold"), (b"b", b""))),
        ),
        # Commas divide in front of a key only.
        (
            "header=accept:text/html,application/json;q=0.5,path=/x",
            Sample("", "/x", "", ((b"accept", b"text/html,application/json;q=0.5"),)),
        ),
        ("model=a,b,mode=l,path=/x", Sample("", "/x", "a,b,mode=l")),
        (r"model=a\,path=b\,,path=/x", Sample("", "/x", "a,path=b,")),
        ("header=a:b:c=d", Sample("", CHAT, "", ((b"a", b"b:c=d"),))),
        ("header=t:Müller", Sample("", CHAT, "", ((b"t", "Müller".encode()),))),
    ],
)
def test_samples(text: str, expected: Sample) -> None:
    """A request is written as keys and values; values may hold whatever a request may hold."""
    assert parse_sample(text) == expected


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "'' is not KEY=VALUE with a key of method, path, model, header"),
        ("llama", "'llama' is not KEY=VALUE"),
        ("modle=x", "'modle=x' is not KEY=VALUE"),
        ("model=a,model=b", "model is given twice"),
        ("header=x-tenant", "header 'x-tenant' is not NAME:VALUE"),
        ("header=:x", "header ':x' is not NAME:VALUE"),
        ("header=bär:x", "is not NAME:VALUE"),
    ],
)
def test_what_is_no_sample(text: str, why: str) -> None:
    """Who writes one wrongly is told how it is written."""
    with pytest.raises(ValueError, match=why):
        parse_sample(text)


CLASSES = [
    {
        "name": "interactive",
        "match": {"model": "*-instruct", "headers": {"X-Tier": "gold"}},
        "preset": "mlperf/llama2-70b/interactive",
    },
    {"name": "embed", "match": {"path": "/v1/embeddings", "headers": {"a": "b"}}, "e2e": "1s"},
    {"name": "long", "match": {"model": "long*", "path": "/v1/*"}, "e2e": "2m", "objective": 0.5},
]


def ask(text: str, **settings: Any) -> list[str]:
    """Return what is answered to a request, under the classes above or others."""
    values: dict[str, Any] = {"slo_classes": CLASSES, **settings}
    return explain(parse_sample(text), build_policy(Settings.model_validate(values)))


def test_a_request_and_its_class() -> None:
    """Each class is told in order, with the first condition that fails or all that hold."""
    assert ask("model=long-context,header=x-tier:silver") == [
        f"POST {CHAT}  x-tier: silver",
        "  inference: api chat, model long-context",
        "  interactive: no, model 'long-context' is not '*-instruct'",
        "  embed: no, path '/v1/chat/completions' is not '/v1/embeddings'",
        "  long: yes, model 'long-context' is 'long*' and path '/v1/chat/completions' is '/v1/*'",
        "  default: not tried",
        "  judged by e2e 2m; objective 0.5",
    ]


def test_a_request_that_no_class_takes() -> None:
    """`default` takes what is left; a header that is absent is told so."""
    assert ask("model=a-instruct")[2:] == [
        "  interactive: no, header x-tier (none) is not 'gold'",
        "  embed: no, path '/v1/chat/completions' is not '/v1/embeddings'",
        "  long: no, model 'a-instruct' is not 'long*'",
        "  default: yes, no other class takes it",
        "  judged by ttft 500ms, itl 100ms; objective 0.95",
    ]


def test_the_only_class_and_one_without_conditions() -> None:
    """A class without conditions takes everything; one without limits promises nothing."""
    assert ask("model=m", slo_classes=[])[2:] == [
        "  default: yes, it is the only class",
        "  judged by ttft 500ms, itl 100ms; objective 0.95",
    ]
    assert ask("model=m", slo_classes=[{"name": "any"}])[2:] == [
        "  any: yes, it takes everything",
        "  default: not tried",
        "  judged by no limit: whatever ends well is good; objective 0.95",
    ]


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("path=/health,method=get", "not inference (not judged, counted as health)"),
        (f"path={CHAT},method=GET", "not inference (not judged, counted as other)"),
        ("path=/v1/models,method=get", "not inference (not judged, counted as metadata)"),
        ("path=/rerank", "no class names its path (not judged, counted as embedding)"),
        (
            "path=/v1/embeddings",
            "no class but default takes it (not judged, counted as embedding)",
        ),
        (
            "method=TRACE",
            "refused with 405: This method is not forwarded. (not judged, counted as refused)",
        ),
        (
            "method=CONNECT,path=a:443",
            "refused with 405: This method is not forwarded. (not judged, counted as refused)",
        ),
    ],
)
def test_what_is_not_judged(text: str, answer: str) -> None:
    """What is no inference has no class, but a kind by which it is counted."""
    assert ask(text)[1:] == [f"  {answer}"]


def test_embeddings_that_a_class_names() -> None:
    """An embedding is judged where a class names its path."""
    assert ask("path=/v1/embeddings,header=a:b")[-3:] == [
        "  long: not tried",
        "  default: not tried",
        "  judged by e2e 1s; objective 0.95",
    ]


@pytest.mark.parametrize(
    ("text", "api", "model"),
    [
        ("path=/v1/models/long:generateContent", "gemini", "long"),  # the path names the model
        ("path=/v1/completions", "completions", "unknown"),
        (f"model={'x' * 300}", "chat", "unknown"),  # not a name
        (
            "path=/v1/realtime?model=rt",
            "realtime",
            "rt, each utterance of a WebSocket",
        ),
        ("path=/v1/realtime,model=m", "realtime", "m, each utterance of a WebSocket"),
    ],
)
def test_where_the_model_comes_from(text: str, api: str, model: str) -> None:
    """The model is the one by which the proxy would know the request."""
    assert ask(text)[1] == f"  inference: api {api}, model {model}"


def test_a_request_that_chooses() -> None:
    """A request's own limits are those by which it is judged, and its class the one it names."""
    text = "model=m,header=x-slo-ttft-ms:250,header=X-Slo-Class:long"
    assert ask(text, slo_headers={"limits": True, "classes": True})[2:] == [
        "  interactive: no, x-slo-class names another",
        "  embed: no, x-slo-class names another",
        "  long: yes, named by x-slo-class",
        "  default: not tried",
        "  judged by ttft 250ms, e2e 2m; objective 0.5",
    ]


def test_choices_that_are_not_heeded() -> None:
    """Who chooses in vain is told why, header by header."""
    text = (
        "header=x-slo-ttft-ms:soon,header=x-slo-tpot-ms:1,header=x-slo-tpot-ms:2,"
        "header=x-slo-class:gold"
    )
    assert ask(text, slo_headers={"limits": True, "classes": True})[2:5] == [
        "  x-slo-ttft-ms is ignored: not_a_number",
        "  x-slo-tpot-ms is ignored: conflicting",
        "  x-slo-class is ignored: unknown_class",
    ]
    assert ask(text)[2:5] == [
        "  x-slo-ttft-ms is not looked at: slo_headers.limits is off",
        "  x-slo-tpot-ms is not looked at: slo_headers.limits is off",
        "  x-slo-class is not looked at: slo_headers.classes is off",
    ]
