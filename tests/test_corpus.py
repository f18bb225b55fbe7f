"""Stream bodies with the answers that a correct reader finds; see corpus/README.md."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from goodput_proxy.record import End, Outcome
from goodput_proxy.stream import find_endpoint, make_dialect, make_framer
from goodput_proxy.stream.events import (
    ErrorEvent,
    Event,
    FinishEvent,
    TerminatorEvent,
    TokenEvent,
    TokenSource,
    UnclassifiedEvent,
)
from goodput_proxy.stream.framing import MAX_RECORD_BYTES
from goodput_proxy.stream.lines import LineFramer
from goodput_proxy.stream.typed import TypedDialect
from goodput_proxy.timeline import Timeline
from tests.streams import CASES, Case, load_case

if TYPE_CHECKING:
    from goodput_proxy.stream.dialect import Dialect
    from goodput_proxy.stream.framing import Framer

# Frames of a WebSocket, which stand one a line in the corpus.
FRAMES = "vllm.realtime.ws_frames.ndjson"
# Bodies whose only invisible token is the one that ends them. (The others show an empty token in
# between, which counts like any other: the engine has made it.)
HIDDEN_ENDS = {
    *("llamacpp.completion.progress.sse", "lmdeploy.generate.delta.sse"),
    *("sglang.generate.cumulative.sse", "sglang.generate.incremental.sse"),
    "tgi.generate_stream.nospace.sse",
}
# How the corpus says that a body ended where the dialect sees a terminator of the format.
TERMINATORS = {
    *("done_sentinel", "message_stop", "response_terminal", "chat_end", "transcription_done"),
    *("done_true", "array_close"),
}


@dataclass
class Reading:
    """Everything that a reader finds in one body."""

    records: int = 0
    events: list[tuple[int, Event]] = field(default_factory=list)  # with the record's index
    timeline: Timeline = field(default_factory=lambda: Timeline(0, ()))


def make(case: Case) -> tuple[Framer, Dialect]:
    """Return what frames and reads a body."""
    if case.expected["framing"] == "ws-text-per-line":
        return LineFramer(), TypedDialect()
    endpoint, request = find_endpoint(case.path), case.expected["request"]
    assert endpoint is not None
    framer = make_framer(endpoint, case.media_type, MAX_RECORD_BYTES)
    assert framer is not None
    generates, echo = request.get("max_tokens") != 0, bool(request.get("echo"))
    return framer, make_dialect(endpoint, generates=generates, echo=echo)


def read(reads: list[bytes], case: Case) -> Reading:
    """Frame and classify a body that arrives in these reads; the n-th record comes at n ns."""
    reading = Reading()
    reading.timeline.streamed = True
    framer, dialect = make(case)
    batches = [framer.feed(piece) for piece in reads]
    for record in [record for batch in [*batches, framer.finish()] for record in batch]:
        index = reading.records
        for event in dialect.read(record):
            reading.events.append((index, event))
            reading.timeline.add(event, index)
        if record.data is not None:
            reading.records += 1
    return reading


def cut(body: bytes) -> list[list[bytes]]:
    """Return ways to cut a body: whole, in single bytes, and once at every position."""
    single = [body[i : i + 1] for i in range(len(body))]
    return [[body], single, *([body[:i], body[i:]] for i in range(len(body)))]


@pytest.mark.parametrize("name", [*CASES, FRAMES])
def test_corpus(name: str) -> None:
    """Every body gives its expected answers under every split."""
    case = load_case(name)
    expected = case.expected
    whole = read([case.body], case)
    tokens = [(i, e) for i, e in whole.events if isinstance(e, TokenEvent)]
    visible = [e for _, e in tokens if not e.hidden]
    finishes = [e.reason for _, e in whole.events if isinstance(e, FinishEvent)]
    errors = [(i, e) for i, e in whole.events if isinstance(e, ErrorEvent)]

    assert expected["records"] == whole.records
    assert expected["token_events"] == len(tokens)
    assert expected["first_token_event_index"] == (tokens[0][0] if tokens else None)
    if name in HIDDEN_ENDS:
        assert expected["visible_token_events"] == len(visible)
    assert ([expected["finish"]] if expected["finish"] else []) == finishes
    assert not [e for _, e in whole.events if isinstance(e, UnclassifiedEvent)]
    check_error(expected["error"], errors)
    check_count(expected, whole.timeline)
    check_outcome(expected, whole)
    for reads in cut(case.body):
        assert whole.events == read(reads, case).events


def check_error(expected: Any, errors: list[tuple[int, ErrorEvent]]) -> None:
    """Compare the error that the body reports, if any."""
    if expected is None:
        assert errors == []
        return
    ((index, error),) = errors
    assert expected["type"] == error.type
    assert expected["code"] == error.code
    if expected["event_index"] is not None:
        assert expected["event_index"] == index


def check_count(expected: dict[str, Any], timeline: Timeline) -> None:
    """Compare the number of output tokens and where it came from."""
    record = timeline.record(status=200, end=End.CLEAN, end_ns=99, last_byte_ns=99)
    if expected["output_tokens"] is None:
        assert TokenSource.EVENTS is record.token_source
    else:
        assert expected["output_tokens"] == record.output_tokens
        assert expected["output_tokens_source"] == record.token_source


def check_outcome(expected: dict[str, Any], reading: Reading) -> None:
    """Compare what became of the request by the corpus's own table."""
    terminators = [e for _, e in reading.events if isinstance(e, TerminatorEvent)]
    record = reading.timeline.record(
        status=200,
        end=End.CLEAN,
        end_ns=99,
        last_byte_ns=99,
        generates=expected["request"].get("max_tokens") != 0,
    )
    assert (expected["terminated"] in TERMINATORS) == bool(terminators)
    if expected["error"]:
        assert Outcome.STREAM_ERROR is record.outcome
    elif expected["terminated"] == "eof_without_terminator":
        assert Outcome.TRUNCATED is record.outcome
    else:
        assert Outcome.OK is record.outcome
