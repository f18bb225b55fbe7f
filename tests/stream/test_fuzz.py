"""Whatever a server sends: nothing raises, nothing grows, and no cut changes what is said."""

from __future__ import annotations

import copy
import json
from functools import cache, partial
from typing import TYPE_CHECKING, Any, get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from goodput_proxy.record import End
from goodput_proxy.stream.array import ArrayFramer
from goodput_proxy.stream.candidates import CandidatesDialect
from goodput_proxy.stream.choices import ChoicesDialect
from goodput_proxy.stream.detect import DetectingDialect
from goodput_proxy.stream.endpoints import find_endpoint
from goodput_proxy.stream.events import Event, TokenEvent
from goodput_proxy.stream.framing import MAX_RECORD_BYTES, TAIL_BYTES, Record
from goodput_proxy.stream.generate import GenerateDialect
from goodput_proxy.stream.lines import LineFramer
from goodput_proxy.stream.llamacpp import LlamaCppDialect
from goodput_proxy.stream.ollama import OllamaDialect
from goodput_proxy.stream.plain import PlainDialect
from goodput_proxy.stream.reader import StreamReader
from goodput_proxy.stream.sse import SseFramer
from goodput_proxy.stream.tensors import TensorsDialect
from goodput_proxy.stream.tgi import TgiDialect
from goodput_proxy.stream.typed import TypedDialect
from goodput_proxy.timeline import Timeline
from tests.sizes import size_of
from tests.streams import CASES, cut, load_case

if TYPE_CHECKING:
    from collections.abc import Callable

    from goodput_proxy.stream.dialect import Dialect
    from goodput_proxy.stream.framing import Framer

    MakeFramer = Callable[[int], Framer]
    MakeDialect = Callable[[], Dialect]

FRAMERS: tuple[MakeFramer, ...] = (SseFramer, LineFramer, ArrayFramer)
DIALECTS: tuple[MakeDialect, ...] = (
    *(ChoicesDialect, partial(ChoicesDialect, echo_record=True), TypedDialect, CandidatesDialect),
    *(GenerateDialect, LlamaCppDialect, OllamaDialect, TgiDialect, TensorsDialect, PlainDialect),
    *(DetectingDialect, partial(DetectingDialect, generates=False)),
)
every_framer = pytest.mark.parametrize("make", FRAMERS)
every_dialect = pytest.mark.parametrize("make", DIALECTS)
few = partial(settings, deadline=None, suppress_health_check=[HealthCheck.too_slow])

# What framings are made of; any order of them is a body.
PIECES = st.sampled_from(
    [
        *(
            b"\n",
            b"\r",
            b"\r\n",
            b"\n\n",
            b" ",
            b":",
            b"data:",
            b"data: ",
            b"event: error",
            b"id: 1",
        ),
        *(b"event: x", b"\xef\xbb\xbf", b"{", b"}", b"[", b"]", b",", b'"', b"\\", b'\\"', b"\\\\"),
        *(b"\x00", b"\xff", b"[DONE]", b'{"a":"b"}', b"x" * 50, b"x" * 1100, b"y" * 2500),
    ]
)
BODIES = st.one_of(st.binary(max_size=200), st.lists(PIECES, max_size=40).map(b"".join))
CAPS = st.sampled_from([1, 2, 16, 100, 1024, 3000, MAX_RECORD_BYTES])
CUTS = st.lists(st.integers(0, 3000), max_size=20)

KEYS = st.sampled_from(
    [
        *("choices", "delta", "content", "role", "text", "index", "finish_reason", "token_ids"),
        *("logprobs", "tokens", "usage", "completion_tokens", "prompt_tokens", "timings", "error"),
        *("predicted_n", "type", "code", "message", "candidates", "parts", "functionCall", "token"),
        *("finishReason", "usageMetadata", "candidatesTokenCount", "meta_info", "output_ids"),
        *("stop", "stop_type", "tokens_predicted", "response", "thinking", "done", "done_reason"),
        *("eval_count", "generated_text", "details", "generated_tokens", "special", "text_output"),
        *("arguments", "content_block", "result", "stats", "total_output_tokens", "status", "id"),
        *("stop_reason", "output", "audio", "error_type", "model_name"),
    ]
)
KINDS = st.sampled_from(
    [
        *("response.output_text.delta", "content_block_delta", "content_block_start", "error"),
        *("message_start", "message_delta", "message_stop", "message-end", "response.completed"),
        *("response.failed", "chat.end", "message.delta", "tool_use", "stop", "abort", "failed"),
    ]
)
SCALARS = st.one_of(
    *(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False)),
    *(st.text(max_size=4), KINDS, st.just(10**400), st.just(-1), st.just("x" * 3000)),
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)
NAMES = st.sampled_from([b"", b"", b"error", b"message_stop", b"response.completed", b"\xff"])


def frame(make: MakeFramer, cap: int, reads: list[bytes]) -> list[Record]:
    """Return the records of a body that comes in these reads, while nothing piles up."""
    framer = make(cap)
    records: list[Record] = []
    for data in reads:
        records += framer.feed(data)
        assert size_of(framer) <= 2 * max(cap, TAIL_BYTES) + 3000
    return records + framer.finish()


def say(dialect: Dialect, records: list[Record]) -> list[Event]:
    """Return what a dialect says, which must be events and nothing else."""
    said = [event for record in records for event in dialect.read(record)]
    assert all(isinstance(event, get_args(Event)) for event in said)
    return said


@every_framer
@few(max_examples=60)
@given(BODIES, CAPS, CUTS)
def test_no_cut_changes_a_record(make: MakeFramer, body: bytes, cap: int, cuts: list[int]) -> None:
    """Any bytes, under any cap, however they come: the same records, and a bounded state."""
    whole = frame(make, cap, [body])
    reads = [
        piece for read in cut(body, (c for c in cuts if c < len(body))) for piece in (read, b"")
    ]

    assert frame(make, cap, reads) == whole
    assert frame(make, cap, [body[i : i + 1] for i in range(len(body))]) == whole
    for record in whole:
        assert record.data is None or len(record.data) <= cap


@every_dialect
@few(max_examples=40)
@given(st.lists(st.tuples(BODIES | JSON, NAMES), max_size=6))
def test_dialects_bear_anything(make: MakeDialect, payloads: list[tuple[Any, bytes]]) -> None:
    """Bytes, JSON of any shape, unknown names: a dialect says events and never raises."""
    dialect = make()
    for payload, name in payloads:
        data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        said = say(dialect, [Record(data, name)])
        said += say(
            dialect, [Record(None, name, oversize=True, head=data[:1024], tail=data[-2048:])]
        )
        said += dialect.read_unary(data)
        timeline = Timeline(0, (10, 20))
        for event in said:
            assert isinstance(event, get_args(Event))
            timeline.add(event, 1)
        record = timeline.record(status=200, end=End.CLEAN, end_ns=2, last_byte_ns=1)
        assert 0 <= record.output_tokens < 10**16


@cache
def corpus() -> dict[str, list[Record]]:
    """Return the records of every body of the corpus."""
    return {
        name: SseFramer().feed(load_case(name).body)
        if name.endswith(".sse")
        else LineFramer().feed(load_case(name).body)
        for name in CASES
        if not name.endswith(".jsonarray")
    }


@st.composite
def mutations(draw: st.DrawFn) -> Record:
    """Draw a record of the corpus in which something has been exchanged for something else."""
    record = draw(st.sampled_from(draw(st.sampled_from(list(corpus().values())))))
    data = record.data or b""
    if draw(st.booleans()) and data.startswith(b"{"):
        try:
            value = json.loads(data)
        except ValueError:
            value = {}
        value = draw(mutate(value))
        return Record(json.dumps(value).encode(), record.event)
    begin = draw(st.integers(0, len(data)))
    end = draw(st.integers(begin, len(data)))
    return Record(data[:begin] + draw(st.binary(max_size=4)) + data[end:], record.event)


@st.composite
def mutate(draw: st.DrawFn, value: Any) -> Any:
    """Draw a value of which one inner one has been exchanged."""
    if isinstance(value, dict | list) and value and draw(st.integers(0, 4)):
        changed = copy.copy(value)
        keys = list(value) if isinstance(value, dict) else list(range(len(value)))
        key: Any = draw(st.sampled_from(keys))
        changed[key] = draw(mutate(value[key]))
        return changed
    return draw(JSON)


@every_dialect
@few(max_examples=40)
@given(st.lists(mutations(), min_size=1, max_size=5))
def test_dialects_bear_their_records_changed(make: MakeDialect, records: list[Record]) -> None:
    """Records of real servers with a part exchanged are read or reported, and never raise."""
    dialect = make()
    say(dialect, records)
    for record in records:
        assert all(isinstance(e, get_args(Event)) for e in dialect.read_unary(record.data or b""))


@st.composite
def changed_bodies(draw: st.DrawFn) -> tuple[str, bytes]:
    """Draw a body of the corpus with pieces taken out, doubled or put in."""
    name = draw(st.sampled_from(CASES))
    body = load_case(name).body
    for _ in range(draw(st.integers(0, 3))):
        begin = draw(st.integers(0, len(body)))
        end = draw(st.integers(begin, min(len(body), begin + 50)))
        body = body[:begin] + draw(PIECES | st.just(body[begin:end] * 2)) + body[end:]
    return name, body


@few(max_examples=250)
@given(changed_bodies(), st.sampled_from([100, 1500, MAX_RECORD_BYTES]), CUTS)
def test_no_cut_changes_what_is_said(changed: tuple[str, bytes], cap: int, cuts: list[int]) -> None:
    """A damaged body says the same however it comes, whole, cut, and through the reader."""
    name, body = changed
    endpoint = find_endpoint(load_case(name).path)
    assert endpoint is not None
    framers: dict[str, MakeFramer] = {"sse": SseFramer, "ndjson": LineFramer}
    make = framers.get(name.rpartition(".")[2], ArrayFramer)
    whole = say(endpoint.dialect(), frame(make, cap, [body]))
    reads = cut(body, (c for c in cuts if c < len(body)))
    reader = StreamReader(make(cap), endpoint.dialect())
    read = [event for data in reads for event in reader.read(data)] + reader.finish()

    assert say(endpoint.dialect(), frame(make, cap, reads)) == whole
    assert read == whole


@few(max_examples=150)
@given(st.lists(st.tuples(st.integers(0, 10**4), JSON), min_size=1, max_size=8), st.data())
def test_the_reader_says_what_its_records_say(
    texts: list[tuple[int, Any]], data: st.DataObject
) -> None:
    """Its short cut is exact for every dialect, also while counters run and values vary."""
    make, template = data.draw(
        st.sampled_from(
            [
                (ChoicesDialect, {"choices": [{"index": 0, "delta": {"content": 1}}], "x": 0}),
                (ChoicesDialect, {"choices": [{"text": 1}], "usage": {"completion_tokens": 0}}),
                (GenerateDialect, {"text": 1, "meta_info": {"completion_tokens": 0}}),
                (LlamaCppDialect, {"content": 1, "tokens_predicted": 0}),
                (TypedDialect, {"type": "response.output_text.delta", "delta": 1, "n": 0}),
                (TgiDialect, {"index": 0, "token": {"id": 0, "text": 1, "special": False}}),
                (TensorsDialect, {"text_output": 1, "sequence_id": 0}),
                (DetectingDialect, {"text": 1, "meta_info": {"completion_tokens": 0}}),
            ]
        )
    )
    reads = [
        b"data: "
        + json.dumps(template)
        .replace(": 0", f": {n}")
        .replace(": 1", f": {json.dumps(text)}")
        .encode()
        + b"\n\n"
        for n, value in texts
        for text in ("a", value, "b")
    ]
    reader = StreamReader(SseFramer(), make())
    whole = say(make(), frame(SseFramer, MAX_RECORD_BYTES, [b"".join(reads)]))

    assert [e for read in reads for e in reader.read(read)] + reader.finish() == whole


@pytest.mark.parametrize("indices", [(0, 1, 0), (2, 34, 0), (0, 32, 64, 5), (2, 2, 34, 2)])
def test_the_reader_tells_choices_apart(indices: tuple[int, ...]) -> None:
    """Also those of which the same is remembered."""
    record = b'data: {"choices":[{"index":%d,"delta":{"content":"a"}}]}\n\n'
    reader = StreamReader(SseFramer(), ChoicesDialect())

    assert [e for i in indices * 3 for e in reader.read(record % i)] == [
        TokenEvent(i) for i in indices * 3
    ]


def test_the_corpus_is_not_silent() -> None:
    """The bodies that are changed above say something as they are."""
    for name, records in corpus().items():
        endpoint = find_endpoint(load_case(name).path)
        assert endpoint is not None
        said = say(endpoint.dialect(), records)
        assert (
            any(isinstance(event, TokenEvent) for event in said) or "max_tokens_0" in name or said
        )
