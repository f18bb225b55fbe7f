"""Hostile streams: what the meter holds stays small, and its time linear, whatever is sent."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest

from goodput_proxy.record import End
from goodput_proxy.stream.array import ArrayFramer
from goodput_proxy.stream.framing import MAX_RECORD_BYTES, Record
from goodput_proxy.stream.lines import LineFramer
from goodput_proxy.stream.sse import SseFramer
from tests.sizes import size_of
from tests.test_tap import DONE, SSE, STOP, TOKEN, Meter

if TYPE_CHECKING:
    from collections.abc import Callable

    from goodput_proxy.stream.framing import Framer

    Make = Callable[[], Framer]

KIB = 1024
MAX_STATE_BYTES = 64 * KIB
# What many taps share, or belongs to the request.
SHARED = ("_metrics", "_policy", "_head", "_limits", "_ask", "_slo", "_edges_ns")


def choice(index: int) -> bytes:
    """Return a record of a choice that nobody asked for, with a reason without end."""
    about = {"index": index, "delta": {"content": "x"}, "finish_reason": f"r{index}" * 100}
    usage = {"completion_tokens": 10**6 + index, "prompt_tokens": 10**9 + index}
    return b"data: %b\n\n" % json.dumps({"choices": [about], "usage": usage}).encode()


# What is repeated without end.
HOSTILE = {
    "endless_line": b"x",
    "endless_data_line": b"data: x",
    "empty_lines": b"\n",
    "empty_records": b"data:\n\n",
    "empty_records_crlf": b"data:\r\n\r\n",
    "carriage_returns": b"\r",
    "empty_objects": b"{},",
    "empty_objects_in_lines": b"{}\n",
    "open_brackets": b"[",
    "open_braces": b'{"a":',
    "closed_brackets": b"]}",
    "objects_in_an_object": b'"a":{},',
    "quotes": b'"',
    "backslashes": b"\\",
    "escaped_quotes": b'\\"',
    "nul_bytes": b"\x00",
    "invalid_utf_8": b"\xff\xfe",
    "half_a_character": b"\xe2\x82",
    "comments": b": ping\n\n",
    "one_block_of_comments": b": ping\n",
    "one_block_of_data": b"data: x\n",
    "events_without_data": b"event: error\n\n",
    "names_without_end": b"event: x",
    "json_that_is_none": b"data: {\n\n",
    "deep_json": b"data: " + b"[" * 8000 + b"\n\n",
    "deep_json_in_a_delta": b'data: {"choices":[{"delta":'
    + b'{"a":' * 900
    + b"1"
    + b"}" * 902
    + b"\n\n",
    "statistics_without_end": b'"meta_info":{"finish_reason":',
    "records_above_the_cap": b'data: {"choices":[{"delta":{"content":"'
    + b"x" * 30_000
    + b'"}}]}\n\n',
}
FRAMERS: tuple[Make, ...] = (SseFramer, LineFramer, ArrayFramer)
every_framer = pytest.mark.parametrize("make", FRAMERS)
every_stream = pytest.mark.parametrize("name", HOSTILE)


def repeated(name: str, size: int) -> bytes:
    """Return about so many bytes of a hostile stream."""
    piece = HOSTILE[name]
    return piece * max(size // len(piece), 1)


def in_pieces(body: bytes, size: int) -> list[bytes]:
    """Return a body in reads of a size."""
    return [body[i : i + size] for i in range(0, len(body), size)]


@every_framer
@every_stream
def test_a_framer_keeps_little(make: Make, name: str) -> None:
    """Its state is bounded by the cap, in small reads, in large ones and in one."""
    body = repeated(name, 128 * KIB)
    for size in (1000, 50 * KIB, len(body)):
        framer = make()
        framer.feed(b"{")
        for data in in_pieces(body, size):
            framer.feed(data)
            assert size_of(framer) < 1.2 * MAX_RECORD_BYTES + 4 * KIB
        framer.finish()
        assert size_of(framer) < 2 * KIB or make is ArrayFramer


def seconds(make: Make, reads: list[bytes]) -> float:
    """Return the least time of a few that framing takes."""
    times = []
    for _ in range(2):
        framer = make()
        framer.feed(b"{")
        begin = time.process_time()
        for data in reads:
            framer.feed(data)
        times.append(time.process_time() - begin)
    return min(times)


@every_framer
@every_stream
@pytest.mark.parametrize("size", [4 * KIB, 1024 * KIB], ids=["small_reads", "one_read"])
def test_framing_takes_linear_time(make: Make, name: str, size: int) -> None:
    """Eight times the bytes take eight times as long: were it squared, 64 times."""
    short = seconds(make, in_pieces(repeated(name, 16 * KIB), size))
    long = seconds(make, in_pieces(repeated(name, 128 * KIB), size))

    assert long < max(24 * short, 0.05)


@pytest.mark.parametrize(
    ("make", "body", "count"),
    [
        (SseFramer, b"data:\n\n", 10**6),
        (SseFramer, b"\n", 0),
        (LineFramer, b"{}\n", 10**6),
        (LineFramer, b"\n", 0),
        (ArrayFramer, b"{},", 10**6),
    ],
)
def test_a_million_empty_records(make: Make, body: bytes, count: int) -> None:
    """They are found, one by one, in reads of a usual size."""
    framer, found = make(), 0
    for data in in_pieces(body * 10**6, 64 * KIB):
        found += len(framer.feed(data))

    assert found == count


@every_framer
def test_framing_goes_on_behind_a_record_of_any_size(make: Make) -> None:
    """8 MiB are one oversize record, and the next one is whole."""
    huge, small = b'{"a":"' + b"x" * 8 * KIB * KIB + b'"}', b'{"b":1}'
    between = b"\n\n" if make is SseFramer else b"\n"
    prefix = b"data: " if make is SseFramer else b""
    body = prefix + huge + between + prefix + small + between
    framer = make()
    records = [r for data in in_pieces(body, 64 * KIB) for r in framer.feed(data) if r.data != b""]

    assert records[0].oversize
    assert records[0].head.startswith(b'{"a":"x')
    assert records[1:] == [Record(small)]


PATHS = (
    *("/v1/chat/completions", "/v1/responses", "/generate", "/api/chat", "/completion"),
    *("/generate_stream", "/v2/models/m/generate_stream"),
    *("/v1beta/models/m:streamGenerateContent", "/v1/audio/transcriptions"),
)
MEDIA_TYPES = {"sse": SSE, "lines": "application/x-ndjson"}


def hold(meter: Meter, body: bytes, size: int) -> int:
    """Feed a tap and look whenever it asks; return the most that it held in between."""
    most = 0
    for i, data in enumerate(in_pieces(body, size)):
        if meter.tap.feed(data, i * 10**7):
            while not meter.tap.digest():
                pass
        if i % 16 == 15:
            most = max(most, size_of(meter.tap, without=SHARED))
    return max(most, size_of(meter.tap, without=SHARED))


@every_stream
@pytest.mark.parametrize("size", [500, 4000, 64 * KIB])
def test_a_tap_holds_little(name: str, size: int) -> None:
    """Below 64 KiB a stream, whatever is sent; and the meter bears it."""
    meter = Meter()
    meter.tap.begin(200, SSE, "")
    hold(meter, TOKEN, len(TOKEN))

    assert hold(meter, repeated(name, 128 * KIB), size) < MAX_STATE_BYTES
    meter.tap.finish(End.CLEAN, 10**10)
    assert ("internal",) not in meter.errors
    assert sum(meter.verdicts.values()) == 1


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("kind", MEDIA_TYPES)
def test_every_dialect_bears_every_stream(path: str, kind: str) -> None:
    """One after the other on one connection: a verdict, and no defect."""
    meter = Meter(path=path)
    meter.tap.begin(200, MEDIA_TYPES[kind], "")
    for name in HOSTILE:
        assert hold(meter, repeated(name, 20 * KIB), 1000) < MAX_STATE_BYTES
    meter.tap.finish(End.CLEAN, 10**12)

    assert ("internal",) not in meter.errors
    assert sum(meter.verdicts.values()) == 1


def test_choices_without_end_are_not_kept() -> None:
    """Thousands of choices with long reasons and counters of their own hold what a few do."""
    meter = Meter()
    meter.tap.begin(200, SSE, "")

    assert hold(meter, b"".join(map(choice, range(2000))), 2000) < MAX_STATE_BYTES
    meter.tap.finish(End.CLEAN, 10**12)
    assert meter.errors == {}


def test_a_stream_that_is_all_of_it_at_once() -> None:
    """Many choices, templates, a record that does not end and reads that wait."""
    meter = Meter()
    meter.tap.begin(200, SSE, "")
    padded = [
        TOKEN.replace(b'"x"', b'"%d"' % i).replace(b"}\n", b' "p":"%b"}\n' % (b"y" * 3900))
        for i in range(20)
    ]
    for body in (b"".join(padded), b"".join(map(choice, range(100)))):
        assert hold(meter, body, len(padded[0])) < MAX_STATE_BYTES
    assert hold(meter, b"x" * 100 * KIB, 511) < MAX_STATE_BYTES


def test_a_stream_goes_on_behind_what_was_hostile() -> None:
    """A record of any size costs its own text and nothing of the others."""
    meter = Meter()
    huge = TOKEN.replace(b'"x"', b'"%b"' % (b"x" * 3 * KIB * KIB))
    meter.play((5, TOKEN), *((6, data) for data in in_pieces(huge, 64 * KIB)), (9, STOP + DONE))

    assert meter.counts("goodput_output_tokens_total") == {("m", "default", "good"): 2.0}
    assert meter.errors == {("oversize_record",): 1.0}


@every_stream
def test_a_look_is_short(name: str) -> None:
    """Between two looks others have their turn, so no read makes one long."""
    meter = Meter()
    meter.tap.begin(200, SSE, "")
    body = repeated(name, 256 * KIB)
    looks, longest = 0, 0.0
    meter.tap.feed(body, 1)
    done = False
    while not done:
        begin = time.process_time()
        done = meter.tap.digest()
        longest = max(longest, time.process_time() - begin)
        looks += 1

    assert looks >= len(body) // (24 * KIB)
    assert longest < 1  # milliseconds, but for coverage's tracer
