"""What `check` says of a request is what the running proxy does with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from goodput_proxy.explain import explain, parse_sample
from goodput_proxy.policy import build_policy
from goodput_proxy.settings import Settings
from tests.integration.harness import post, sized

if TYPE_CHECKING:
    from tests.integration.conftest import StartProxy

SETTINGS: dict[str, Any] = {
    "slo_headers": {"limits": True, "classes": True},
    "slo_classes": [
        {"name": "gold", "match": {"headers": {"X-Tenant": "gold*"}}, "e2e": "1m"},
        {"name": "muller", "match": {"headers": {"x-tenant": "Müller"}}, "e2e": "1m"},
        {"name": "llama", "match": {"model": "*llama*", "path": "/v1/*"}, "e2e": "1m"},
        {"name": "embed", "match": {"path": "/v1/embeddings"}, "e2e": "1m"},
    ],
}
ANSWER = sized(
    b'{"choices":[{"message":{"content":"hi"},"finish_reason":"stop"}]}',
    b"200 OK",
    b"Content-Type: application/json",
)


@pytest.mark.parametrize(
    ("text", "slo"),
    [
        ("model=m", "default"),
        ("model=m,header=X-TENANT:golden", "gold"),
        ("model=m,header=x-tenant:Gold", "default"),
        ("model=m,header=x-tenant:Müller", "muller"),
        ("model=org/llama-3", "llama"),
        ("model=llama,path=/other/v1/chat/completions", "default"),
        ("model=llama,path=/v1/completions?x=1", "llama"),
        ("model=llama,header=x-slo-class:gold", "gold"),
        ("model=llama,header=x-slo-class:default", "default"),
        ("model=llama,header=x-slo-class:Gold", "llama"),
        ("model=m,path=/v1/embeddings", "embed"),
        ("model=m,path=/v1/rerank", ""),
        ("model=m,path=/tokenize", ""),
    ],
)
async def test_a_request_is_counted_where_check_says(
    start_proxy: StartProxy, text: str, slo: str
) -> None:
    """The class that `check` names is the label `slo` of the request; or there is none."""
    sample = parse_sample(text)
    said = explain(sample, build_policy(Settings(**SETTINGS)))
    proxy = await start_proxy(**SETTINGS)
    body = b'{"model":"%b","messages":[1],"input":"x"}' % sample.model.encode()
    headers = (b"%b: %b" % header for header in sample.headers)
    client, server = await proxy.begin(post(body, *headers, path=sample.target.encode()))
    server.send(ANSWER)
    assert (await client.answer()).status == 200

    samples = await proxy.samples()
    counted = {
        dict(have)["slo"] for have, value in samples.of("goodput_requests_total").items() if value
    }
    assert counted == ({slo} if slo else set())
    chosen = [line.split(":")[0].strip() for line in said if ": yes, " in line]
    assert chosen == ([slo] if slo else [])
