"""What the meter costs per record, dialect by dialect, without a network.

Records of each format, as its servers send them, go through a tap as the relay would hand them
over: one record a read, the work done in batches. The clock stands around the tap alone. Caches
are warm here, which they are not beside a network: compare dialects with one another, and the
proxy with other proxies in the other tables.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from time import thread_time_ns
from typing import TYPE_CHECKING

from bench import compiled
from bench.peers import GOODPUT, GOODPUT_COMPILED
from goodput_proxy.classify import Route, classify
from goodput_proxy.metrics import Metrics
from goodput_proxy.policy import build_policy
from goodput_proxy.settings import Settings
from goodput_proxy.tap import InferenceHead, Tap

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

RECORDS = 640  # of one stream; the first half warms up and is not timed
ROUNDS = 15
MUST_US = 2.0
MUST_CUMULATIVE_US = 5.0

SSE = "text/event-stream"
NDJSON = "application/x-ndjson"
WORDS = (*(" the", " quick", " brown", " fox", " jumps", " over", " it", " and") * 4, "\\n", "é")


@dataclass(frozen=True)
class Format:
    """A format and how its records look after the first token."""

    name: str
    path: str
    media_type: str
    make: Callable[[int, str], str]  # the n-th record, with this text
    must_us: float | None = MUST_US  # None: 1.7 kB that vary throughout are no ordinary record

    def records(self) -> Iterator[bytes]:
        """Return records without end."""
        for n in count(1):
            yield self.make(n, WORDS[n % len(WORDS)]).encode()


def _id(n: int) -> int:
    """Return what may be the id of the n-th token."""
    return 1000 + n * 7919 % 100_000


def _chat(n: int, text: str, more: str = "") -> str:
    del n
    return (
        'data: {"id":"chatcmpl-0f3b6a5c9d7e4f1a8b2c","object":"chat.completion.chunk","created":'
        '1790000000,"model":"meta-llama/Llama-3.1-8B-Instruct","choices":[{"index":0,"delta":'
        f'{{"content":"{text}"}},"logprobs":null,"finish_reason":null}}]{more}}}\n\n'
    )


def _continuous(n: int, text: str) -> str:
    usage = f'{{"prompt_tokens":40,"total_tokens":{40 + n},"completion_tokens":{n}}}'
    return _chat(n, text, f',"usage":{usage}')


def _logprobs(n: int, text: str) -> str:
    top = ",".join(
        f'{{"token":"{text}","logprob":-{i}.25,"bytes":[32,116,104]}}' for i in range(20)
    )
    entry = f'{{"token":"{text}","logprob":-0.25,"bytes":[32,116],"top_logprobs":[{top}]}}'
    record = _chat(n, text)
    return record.replace('"logprobs":null', f'"logprobs":{{"content":[{entry}]}}')


def _cumulative(n: int, text: str) -> str:
    del text
    ids = ",".join(str(1000 + i) for i in range(1500))
    return (
        f'data: {{"text":"{"and so on " * 940}","output_ids":[{ids}],"meta_info":{{"id":"1",'
        f'"finish_reason":null,"prompt_tokens":9,"completion_tokens":{1500 + n},'
        '"cached_tokens":0}}\n\n'
    )


FORMATS = (
    Format("chat", "/v1/chat/completions", SSE, _chat),
    Format("chat, continuous usage", "/v1/chat/completions", SSE, _continuous),
    Format("chat, 20 logprobs", "/v1/chat/completions", SSE, _logprobs, must_us=None),
    Format(
        "completions",
        "/v1/completions",
        SSE,
        lambda _n, text: (
            'data: {"id":"cmpl-1","object":"text_completion","created":1790000000,"model":"m-7b",'
            f'"choices":[{{"index":0,"text":"{text}","logprobs":null,"finish_reason":null}}]}}\n\n'
        ),
    ),
    Format(
        "responses",
        "/v1/responses",
        SSE,
        lambda n, text: (
            "event: response.output_text.delta\n"
            f'data: {{"type":"response.output_text.delta","sequence_number":{n},"content_index":0,'
            f'"output_index":0,"item_id":"msg_1","delta":"{text}","logprobs":[]}}\n\n'
        ),
    ),
    Format(
        "messages",
        "/v1/messages",
        SSE,
        lambda _n, text: (
            'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,'
            f'"delta":{{"type":"text_delta","text":"{text}"}}}}\n\n'
        ),
    ),
    Format(
        "cohere",
        "/cohere/v2/chat",
        SSE,
        lambda _n, text: (
            'data: {"type":"content-delta","index":0,"delta":{"message":{"content":{"text":'
            f'"{text}"}}}}}}}}\n\n'
        ),
    ),
    Format(
        "gemini",
        "/v1beta/models/g:streamGenerateContent",
        SSE,
        lambda n, text: (
            f'data: {{"candidates": [{{"content": {{"parts": [{{"text": "{text}"}}],"role": '
            f'"model"}},"index": 0}}],"usageMetadata": {{"promptTokenCount": 4,'
            f'"candidatesTokenCount": {n},"totalTokenCount": {n + 4}}}}}\r\n\r\n'
        ),
    ),
    Format(
        "ollama",
        "/api/chat",
        NDJSON,
        lambda n, text: (
            f'{{"model":"llama3.2","created_at":"2026-01-02T03:04:{n % 60:02}.{n:09}Z",'
            f'"message":{{"role":"assistant","content":"{text}"}},"done":false}}\n'
        ),
    ),
    Format(
        "generate, TGI",
        "/generate_stream",
        SSE,
        lambda n, text: (
            f'data: {{"index":{n},"token":{{"id":{_id(n)},"text":"{text}","logprob":-0.{n},'
            '"special":false},"generated_text":null,"details":null}\n\n'
        ),
    ),
    Format(
        "generate, llama.cpp",
        "/completion",
        SSE,
        lambda n, text: (
            f'data: {{"index":0,"content":"{text}","tokens":[{_id(n)}],"stop":false,"id_slot":0,'
            f'"tokens_predicted":{n},"tokens_evaluated":6}}\n\n'
        ),
    ),
    Format(
        "generate, Triton",
        "/v2/models/ensemble/generate_stream",
        SSE,
        lambda _n, text: (
            'data: {"model_name":"ensemble","model_version":"1","sequence_end":false,'
            f'"sequence_id":0,"sequence_start":false,"text_output":"{text}"}}\n\n'
        ),
    ),
    Format(
        "generate, SGLang deltas",
        "/generate",
        SSE,
        lambda n, text: (
            f'data: {{"text":"{text}","output_ids":[{_id(n)}],"meta_info":{{"id":"1",'
            f'"finish_reason":null,"prompt_tokens":6,"completion_tokens":{n},"cached_tokens":0}}}}\n\n'
        ),
    ),
    Format("generate, SGLang 17 kB", "/generate", SSE, _cumulative, MUST_CUMULATIVE_US),
)


def measure_us(form: Format, rounds: int = ROUNDS) -> float:
    """Return the median cost of a record, in microseconds."""
    settings = Settings()
    policy = build_policy(settings)
    metrics = Metrics(policy, 32)
    source = form.records()
    reads = [next(source) for _ in range(RECORDS)]
    route = classify("POST", form.path)
    if not isinstance(route, Route):
        raise TypeError(f"{form.path} is not inference")
    costs_us = []
    for _ in range(rounds):
        tap = Tap(InferenceHead(route, form.path, (), 0), policy, metrics, settings.limits)
        tap.hear(b'{"model":"m","stream":true}')
        tap.ask()
        tap.begin(200, form.media_type, "")
        _feed(tap, reads[: RECORDS // 2])
        begin_ns = thread_time_ns()  # not the clock on the wall: others may run, too
        _feed(tap, reads[RECORDS // 2 :])
        costs_us.append((thread_time_ns() - begin_ns) / (RECORDS // 2) / 1000)
    return statistics.median(costs_us)


def _feed(tap: Tap, reads: list[bytes]) -> None:
    for now_ns, data in enumerate(reads):
        if tap.feed(data, now_ns * 1_000_000):
            while not tap.digest():
                pass
    while not tap.digest():
        pass


def by_build() -> dict[str, dict[str, float]]:
    """Return the cost of a record by build of the proxy and format, in microseconds."""
    builds = {GOODPUT: dict(os.environ)}
    if compiled.missing() is None:
        variables = compiled.environment(compiled.build())
        variables["PYTHONPATH"] += os.pathsep + str(Path(__file__).parent.parent)
        builds[GOODPUT_COMPILED] = {**os.environ, **variables}
    command = [sys.executable, "-m", "bench.meter"]
    return {
        name: json.loads(subprocess.check_output(command, env=environment, text=True))
        for name, environment in builds.items()
    }


if __name__ == "__main__":
    json.dump({form.name: measure_us(form) for form in FORMATS}, sys.stdout)
