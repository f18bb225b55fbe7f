"""The reader of a stream: its short cut says exactly what the long way says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goodput_proxy.stream.choices import ChoicesDialect
from goodput_proxy.stream.events import Event, FinishEvent, TerminatorEvent, TokenEvent
from goodput_proxy.stream.reader import StreamReader
from goodput_proxy.stream.sse import SseFramer

if TYPE_CHECKING:
    from collections.abc import Iterable

CORPUS = Path(__file__).parent.parent / "corpus"


def record(text: str | bytes, key: str = "content", index: int = 0) -> bytes:
    """Return a record of a chat stream; a text in bytes is put in as it is."""
    raw = text if isinstance(text, bytes) else json.dumps(text, ensure_ascii=False).encode()[1:-1]
    head = b'data: {"id":"1","choices":[{"index":%d,"delta":{"%b":"' % (index, key.encode())
    return head + raw + b'"},"finish_reason":null}]}\n\n'


def long_way(reads: Iterable[bytes]) -> list[Event]:
    """Return the events of a body with every record framed and decoded."""
    framer, dialect = SseFramer(), ChoicesDialect()
    return [e for data in reads for r in framer.feed(data) for e in dialect.read(r)]


def short_way(reads: Iterable[bytes]) -> list[Event]:
    """Return the events that a reader finds."""
    reader = StreamReader(SseFramer(), ChoicesDialect())
    return [event for data in reads for event in reader.read(data)]


def matching(reads: list[bytes]) -> str:
    """Return which of these reads match the template: a letter each, y or n."""
    reader = StreamReader(SseFramer(), ChoicesDialect())
    found = ""
    for data in reads:
        found += "y" if reader.matches(data) else "n"
        reader.read(data)
    return found


TEXTS = st.one_of(
    st.sampled_from(
        ["a", "", " the", "\n", '"', "\\", "é", "\U0001f98a", "\x7f", '"}', "x" * 2000]
    ),
    st.text(max_size=5),
    st.sampled_from([b"\xff", b"\\", b"\n\n", b"\r", b"\x00", b'","x":"', b'"']),
)


@given(st.lists(st.one_of(TEXTS.map(record), TEXTS.map(lambda t: record(t, "text"))), max_size=12))
def test_the_short_cut_is_exact(reads: list[bytes]) -> None:
    """Whatever the texts are, valid or not, the events are those of the long way."""
    assert short_way(reads) == long_way(reads)


@given(st.lists(TEXTS.map(record), max_size=8), st.data())
def test_any_split_gives_the_same_events(records: list[bytes], data: st.DataObject) -> None:
    """Where the network cuts the stream changes nothing."""
    body = b"".join(records)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(body)), max_size=10)))
    reads = [body[a:b] for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True)]

    assert short_way(reads) == long_way([body])


@pytest.mark.parametrize("path", sorted(CORPUS.glob("*.sse")), ids=lambda path: path.stem)
def test_corpus(path: Path) -> None:
    """Every stream of the corpus, a block a read, says the same both ways."""
    body = path.read_bytes()
    blocks = [block + b"\n\n" for block in body.split(b"\n\n") if block]

    assert short_way(blocks) == long_way([body])


def test_tokens_match() -> None:
    """After the first tokens, reads that differ in their text only match."""
    assert matching([record(c) for c in "abcdefgh"]) == "nnnyyyyy"


def test_anything_else_does_not_match() -> None:
    """Escapes, empty texts and other fields take the long way; behind them tokens match again."""
    texts: list[str | bytes] = ["a", "b", "c", "d", "\n", "e", "", "f", "\u00e9", b"\xff", "g"]
    reads = [record(text) for text in texts]

    assert matching(reads) == "nnnynynyyny"


def test_a_read_that_was_cut_is_no_token() -> None:
    """While a record is incomplete, what follows belongs to it."""
    whole = record("abc")
    reads = [record("a"), record("b"), whole[:20], whole[20:], record("c")]

    assert short_way(reads) == [TokenEvent()] * 4


def test_choices_that_take_turns_stop_the_making_of_templates() -> None:
    """A template that never matches is not made for ever."""
    reads = [record("a", index=i % 2) for i in range(40)]
    reader = StreamReader(SseFramer(), ChoicesDialect())
    for data in reads:
        reader.read(data)

    assert reader._patience == 0
    assert short_way(reads) == [TokenEvent(i % 2) for i in range(40)]


@pytest.mark.parametrize(
    "data",
    [
        record("x", "thoughts"),
        record("a" * 9000),
        record("a").replace(b"\n", b"\r\n"),
        b"data: " + record("a")[6:-2].replace(b'"delta"', b'"text":"t","delta"') + b"\n\n",
        record("\\n"),
    ],
)
def test_records_that_make_no_template(data: bytes) -> None:
    """Unknown keys, large records, other line ends and other evidence stay on the long way."""
    reads = [record("a"), data, data, data]

    assert short_way(reads) == long_way(reads)


def test_the_end_of_the_body() -> None:
    """The last block needs no blank line when the body ended cleanly."""
    reader = StreamReader(SseFramer(), ChoicesDialect())
    reader.read(record("a"))
    reader.read(b"data: [DONE]")

    assert reader.finish() == [TerminatorEvent()]
    assert reader.finish() == []


def test_several_records_in_a_read() -> None:
    """Records that one read completes are read in their order."""
    stop = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'

    assert short_way([record("a") + record("b") + stop]) == [
        TokenEvent(),
        TokenEvent(),
        FinishEvent(0, "stop"),
    ]
