"""The border: what the meter makes of a response, and that it can break without harm."""

from __future__ import annotations

import gzip
import sys
import zlib
from itertools import pairwise
from types import ModuleType
from typing import TYPE_CHECKING, Any

import brotli
import pytest
from backports import zstd

from goodput_proxy import series as series_module
from goodput_proxy import tap as tap_module
from goodput_proxy.classify import Route, classify
from goodput_proxy.metrics import Metrics
from goodput_proxy.policy import build_policy
from goodput_proxy.record import End
from goodput_proxy.settings import Settings
from goodput_proxy.stream.choices import ChoicesDialect
from goodput_proxy.stream.reader import StreamReader
from goodput_proxy.stream.sse import SseFramer
from goodput_proxy.tap import InferenceHead, Tap
from goodput_proxy.tapqueue import TapQueue
from goodput_proxy.timeline import Timeline

if TYPE_CHECKING:
    from collections.abc import Callable

    from goodput_proxy.heads import Headers
    from goodput_proxy.judged import JudgedRequest, Observer

MS = 1_000_000
SSE = "text/event-stream; charset=utf-8"
ROLE = b'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}\n\n'
TOKEN = b'data: {"choices":[{"index":0,"delta":{"content":"x"}}]}\n\n'
STOP = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
DONE = b"data: [DONE]\n\n"
UNARY = (
    b'{"choices":[{"index":0,"message":{"content":"hi"},"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":3,"completion_tokens":2}}'
)


class Meter:
    """A tap with the real metrics around it."""

    def __init__(
        self,
        body: bytes = b'{"model":"m"}',
        path: str = "/v1/chat/completions",
        headers: Headers = (),
        observers: tuple[Observer, ...] = (),
        **settings_of_headers: Any,
    ) -> None:
        settings = Settings.model_validate(
            {
                "slo_headers": settings_of_headers,
                "slo_classes": [{"name": "long", "match": {"model": "long*"}, "ttft": "9s"}],
            }
        )
        policy = build_policy(settings)
        self.metrics = Metrics(policy, 32)
        route = classify("POST", path)
        assert isinstance(route, Route)
        head = InferenceHead(route, path, headers, 0)
        self.tap = Tap(head, policy, self.metrics, settings.limits, observers)
        self.tap.hear(body)
        self.tap.ask()

    def play(
        self,
        *body: tuple[int, bytes],
        status: int = 200,
        content_type: str = SSE,
        encoding: str = "",
        end: End = End.CLEAN,
    ) -> None:
        """Let a response pass whose reads come at these milliseconds."""
        self.tap.begin(status, content_type, encoding)
        for at_ms, data in body:
            self.tap.feed(data, at_ms * MS)
        self.tap.finish(end, 1000 * MS)

    def counts(self, metric: str) -> dict[tuple[str, ...], float]:
        """Return the samples of a counter that are not zero, by their label values."""
        return {
            tuple(sample.labels.values()): sample.value
            for family in self.metrics.registry.collect()
            for sample in family.samples
            if sample.name == metric and sample.value
        }

    @property
    def verdicts(self) -> dict[tuple[str, ...], float]:
        """The verdict counter."""
        return self.counts("goodput_requests_total")

    @property
    def errors(self) -> dict[tuple[str, ...], float]:
        """The meter's own errors."""
        return self.counts("goodput_tap_errors_total")


def verdict(name: str, cause: str = "", slo: str = "default", model: str = "m") -> Any:
    """Return the verdict counter's samples after exactly one request."""
    return {("chat", model, slo, name, cause): 1.0}


def test_a_stream_is_timed_and_judged() -> None:
    """The whole chain from bytes to metrics, with exact times."""
    meter = Meter()
    meter.play((5, ROLE), (200, TOKEN), (220, TOKEN), (240, TOKEN + STOP), (250, DONE))

    assert verdict("good") == meter.verdicts
    assert meter.errors == {}
    assert meter.counts("goodput_time_to_first_token_seconds_sum") == {("m", "default"): 0.2}
    assert meter.counts("goodput_inter_token_latency_seconds_sum") == {("m", "default"): 0.02}
    assert meter.counts("goodput_inter_chunk_latency_seconds_count") == {("m", "default"): 2.0}
    assert meter.counts("goodput_request_duration_seconds_sum") == {("m", "default"): 0.24}
    assert meter.counts("goodput_output_tokens_total") == {("m", "default", "good"): 3.0}


def test_a_late_first_token_is_slow() -> None:
    """The role record does not stop the clock of TTFT."""
    meter = Meter()
    meter.play((5, ROLE), (501, TOKEN), (510, STOP + DONE))

    assert verdict("slow", "ttft") == meter.verdicts
    assert meter.counts("goodput_slo_violations_total") == {("m", "default", "ttft"): 1.0}


def test_the_class_follows_the_model() -> None:
    """The limits are those of the class that the request's body leads to."""
    meter = Meter(b'{"model":"long-context"}')
    meter.play((5, ROLE), (8000, TOKEN), (8001, STOP + DONE))

    assert verdict("good", slo="long", model="long-context") == meter.verdicts


@pytest.mark.parametrize(
    ("ttft_ms", "itl_ms", "expected"),
    [
        (b"200", b"20", ("good", "")),
        (b"199.999999", b"20", ("slow", "ttft")),
        (b"200", b"19.999999", ("slow", "itl")),
    ],
)
def test_a_request_with_limits_of_its_own(
    ttft_ms: bytes, itl_ms: bytes, expected: tuple[str, str]
) -> None:
    """They are met inclusively, to the nanosecond; the class and its label stay."""
    headers = [(b"x-slo-ttft-ms", ttft_ms), (b"x-slo-tpot-ms", itl_ms)]
    meter = Meter(b'{"model":"long"}', headers=headers, limits=True)
    meter.play((5, ROLE), (200, TOKEN), (220, TOKEN), (240, TOKEN + STOP + DONE))

    assert verdict(*expected, slo="long", model="long") == meter.verdicts
    assert meter.counts("goodput_slo_header_errors_total") == {}
    assert meter.counts("goodput_slo_threshold_seconds") == {
        ("long", "ttft"): 9.0,
        ("default", "ttft"): 0.5,
        ("default", "itl"): 0.1,
    }


def test_a_request_that_names_its_class() -> None:
    """The class is the one that is named, whatever the model."""
    meter = Meter(headers=[(b"x-slo-class", b"long")], classes=True)
    meter.play((8000, TOKEN), (8001, STOP + DONE))

    assert verdict("good", slo="long") == meter.verdicts


def test_headers_that_are_unusable_are_counted_once() -> None:
    """Each is as if it were absent, and no value of it is seen anywhere."""
    headers = [(b"x-slo-ttft-ms", b"s3cret"), (b"x-slo-tpot-ms", b"0"), (b"x-slo-class", b"s3cret")]
    meter = Meter(headers=headers, limits=True, classes=True)
    meter.play((200, TOKEN), (220, TOKEN + STOP + DONE))

    assert verdict("good") == meter.verdicts
    assert meter.counts("goodput_slo_header_errors_total") == {
        ("not_a_number",): 1.0,
        ("out_of_bounds",): 1.0,
        ("unknown_class",): 1.0,
    }
    assert b"s3cret" not in meter.metrics.render("")[0]


def test_headers_are_not_looked_at_where_requests_may_not_choose() -> None:
    """With the settings off they mean nothing, right or wrong."""
    meter = Meter(headers=[(b"x-slo-ttft-ms", b"1"), (b"x-slo-class", b"nope")])
    meter.play((200, TOKEN), (220, TOKEN + STOP + DONE))

    assert verdict("good") == meter.verdicts
    assert meter.counts("goodput_slo_header_errors_total") == {}


def test_an_answer_in_one_piece() -> None:
    """An unstreamed answer has no TTFT: it can be partly good at best."""
    meter = Meter()
    meter.play((20, UNARY[:30]), (30, UNARY[30:]), content_type="application/json")

    assert verdict("good_partial") == meter.verdicts
    assert meter.errors == {}
    assert meter.counts("goodput_output_tokens_total") == {("m", "default", "good_partial"): 2.0}
    assert meter.counts("goodput_input_tokens_total") == {("m", "default", "good_partial"): 3.0}
    assert meter.counts("goodput_request_duration_seconds_sum") == {("m", "default"): 0.03}


def test_an_answer_that_is_too_large_to_read() -> None:
    """An oversize answer is judged by its bytes, and the meter says what it missed."""
    meter = Meter()
    meter.play((9, b"{" + b" " * 600_000), content_type="application/json")

    assert verdict("good_partial") == meter.verdicts
    assert meter.errors == {("oversize_body",): 1.0}


@pytest.mark.parametrize(
    ("content_type", "encoding", "reason"),
    [(SSE, "compress", "content_encoding"), ("text/plain", "", "content_type")],
)
def test_bodies_that_are_not_looked_into(content_type: str, encoding: str, reason: str) -> None:
    """What cannot be read is measured to its last byte only, and the meter says why."""
    meter = Meter()
    meter.play((9, b"\x1f\x8b\x00"), content_type=content_type, encoding=encoding)

    assert verdict("good_partial") == meter.verdicts
    assert {(reason,): 1.0} == meter.errors


def test_garbage_that_claims_to_be_a_stream() -> None:
    """Garbage is an answer that never ended properly, and the meter says why."""
    meter = Meter()
    meter.play((5, b"data: not json\n\n"), (6, b"\x00\xff" * 100))

    assert verdict("error", "truncated") == meter.verdicts
    assert meter.errors == {("bad_json",): 1.0}


def test_the_end_of_the_body_ends_its_last_record() -> None:
    """A terminator without its blank line counts when the body ended cleanly."""
    meter = Meter()
    meter.play((5, TOKEN), (6, b"data: [DONE]"))

    assert verdict("good_partial") == meter.verdicts


def test_a_cut_body_does_not_end_its_last_record() -> None:
    """A record that a reset cut is not read."""
    meter = Meter()
    meter.play((5, TOKEN), (6, b"data: [DONE]"), end=End.CUT)

    assert verdict("error", "truncated") == meter.verdicts


def test_a_status_is_a_verdict() -> None:
    """An error status is judged by itself, whatever its body is."""
    meter = Meter()
    meter.play((5, b"<html>"), status=503, content_type="text/html")

    assert verdict("error", "http_5xx", model="other") == meter.verdicts
    assert meter.errors == {}


def test_a_refused_model_takes_no_label() -> None:
    """A model that the server refused is counted as `other`."""
    meter = Meter()
    meter.play((5, b"{}"), status=404, content_type="application/json")

    assert verdict("client_error", "http_4xx", model="other") == meter.verdicts


def test_no_response() -> None:
    """An exchange that never had a response is judged all the same."""
    meter = Meter()
    meter.tap.finish(End.CONNECT_FAILED, MS)

    assert verdict("error", "connect", model="other") == meter.verdicts


def test_a_request_without_a_readable_body() -> None:
    """An unreadable request falls into the default class of the unknown model."""
    meter = Meter(b"")
    meter.play((5, TOKEN + STOP + DONE))

    assert verdict("good_partial", model="unknown") == meter.verdicts


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd"])
def test_a_compressed_stream_is_measured_like_a_plain_one(coding: str) -> None:
    """Bytes that are inflated for the meter say what the same stream says without a coding."""
    compress = {"gzip": gzip, "deflate": zlib, "br": brotli, "zstd": zstd}[coding].compress
    long = TOKEN.replace(b"x", b"y" * 10_000)
    body = compress(ROLE + TOKEN * 50 + long * 3 + STOP + DONE)
    plain, coded = Meter(), Meter()
    plain.play((1, ROLE), (5, TOKEN * 50), (9, long * 3), (9, STOP + DONE))
    cuts = [*range(0, len(body), 100), len(body)]
    coded.play(*((9, body[a:b]) for a, b in pairwise(cuts)), encoding=coding)

    assert coded.verdicts == plain.verdicts == verdict("good")
    tokens = ("goodput_output_tokens_total", "goodput_time_to_first_token_seconds_count")
    for name in tokens:
        assert coded.counts(name) == plain.counts(name)
    assert coded.errors == {}


def test_a_compressed_answer_is_read() -> None:
    """An answer in one piece has its totals in it, compressed or not."""
    meter = Meter()
    meter.play((5, gzip.compress(UNARY)), content_type="application/json", encoding="gzip")

    assert meter.verdicts == verdict("good_partial")
    assert sum(meter.counts("goodput_output_tokens_total").values()) == 2


def test_a_coding_that_lies_is_counted_apart() -> None:
    """What cannot be inflated was not measured: it is neither good nor the server's fault."""
    meter = Meter()
    meter.play((5, ROLE + TOKEN + STOP + DONE), encoding="gzip")

    assert meter.verdicts == {}
    assert meter.errors == {("content_encoding",): 1.0}
    assert meter.counts("goodput_passthrough_requests_total") == {("unmeasured",): 1.0}


def test_a_control_call_is_not_judged() -> None:
    """A request for no output is counted apart and never in the ratio."""
    meter = Meter(b'{"model":"m","max_tokens":0}')
    meter.play((5, STOP + DONE))

    assert meter.verdicts == {}
    assert meter.counts("goodput_passthrough_requests_total") == {("control",): 1.0}


FUNCTIONS: list[tuple[type | Any, str]] = [
    (tap_module, "read_ask"),
    (tap_module, "make_dialect"),
    (tap_module, "make_framer"),
    (SseFramer, "feed"),
    (SseFramer, "finish"),
    (StreamReader, "matches"),
    (ChoicesDialect, "read"),
    (Timeline, "add"),
    (Timeline, "record"),
    (tap_module, "judge"),
    (Metrics, "admit"),
    (series_module, "_observe_latencies"),
]


def break_once(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str) -> list[str]:
    """Make a function raise at its first call; return the list that notes it."""
    module = owner if isinstance(owner, ModuleType) else sys.modules[owner.__module__]
    if not str(module.__file__).endswith(".py") and isinstance(owner, type):
        pytest.skip("methods of compiled classes are bound when they are compiled")
    broken: list[str] = []
    original = getattr(owner, name)

    def fail_once(*arguments: Any, **keywords: Any) -> Any:
        if not broken:
            broken.append(name)
            raise RuntimeError("secret of a user")
        return original(*arguments, **keywords)

    monkeypatch.setattr(owner, name, fail_once)
    return broken


@pytest.mark.parametrize(("owner", "name"), FUNCTIONS, ids=[name for _, name in FUNCTIONS])
def test_a_fault_in_the_meter(
    owner: Any, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A meter that breaks raises nothing, and what it did not measure is not called good."""
    meter = Meter()
    broken = break_once(monkeypatch, owner, name)
    meter.tap.hear(b'{"model":"m"}')
    meter.tap.ask()
    meter.play((5, ROLE), (9, TOKEN), (10, TOKEN + STOP + DONE))

    assert broken == [name]
    assert meter.verdicts == {}
    assert meter.counts("goodput_passthrough_requests_total") == {("unmeasured",): 1.0}
    assert meter.errors == {("internal",): 1.0}
    assert "secret" not in "".join(capsys.readouterr())


def test_a_failed_request_of_a_broken_meter(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the data path knows by itself is judged without the meter."""
    meter = Meter()
    break_once(monkeypatch, SseFramer, "feed")
    meter.play((5, TOKEN), end=End.CUT)

    assert meter.verdicts == verdict("error", "truncated")


class Loop:
    """The one method of an event loop that the queue needs."""

    def __init__(self) -> None:
        self.callbacks: list[Callable[[], None]] = []

    def call_soon(self, callback: Callable[[], None]) -> None:
        """Take note of a callback."""
        self.callbacks.append(callback)


def test_an_observer_that_fails_concerns_nobody_else() -> None:
    """Each is told of the request after it was counted; a fault of one is counted apart."""
    told: list[JudgedRequest] = []

    def fail(judged: JudgedRequest) -> None:
        told.append(judged)
        raise ValueError("a defect")

    meter = Meter(observers=(fail, told.append))
    meter.play((1, TOKEN), (2, STOP + DONE))

    assert len(told) == 2
    assert told[0] is told[1]
    assert told[0].judgement.compliant
    assert meter.verdicts == verdict("good_partial")
    assert meter.errors == {("internal",): 1.0}


def test_the_queue_waits_for_the_writes() -> None:
    """Nothing looks at bytes before the loop runs its callbacks, once for all taps."""
    meter, loop = Meter(), Loop()
    queue = TapQueue(loop.call_soon, meter.metrics)
    meter.tap.begin(200, SSE, "")
    meter.tap.feed(TOKEN, MS)
    queue.put(meter.tap, 1)
    queue.put(meter.tap, 2)
    assert len(meter.tap._reads) == 1

    (callback,) = loop.callbacks
    callback()
    assert meter.tap._reads == []
    queue.put(meter.tap, 3)

    assert meter.counts("goodput_proxy_overhead_seconds_count") == {("token",): 3.0}
    assert len(loop.callbacks) == 2


def test_much_to_look_at_is_looked_at_in_turns() -> None:
    """A large read is cut, and the event loop has its turn between the pieces."""
    meter, loop = Meter(), Loop()
    queue = TapQueue(loop.call_soon, meter.metrics)
    meter.tap.begin(200, SSE, "")
    tokens = 20_000
    assert meter.tap.feed(TOKEN * tokens, MS)
    queue.put(meter.tap, MS)
    turns = 0
    while len(loop.callbacks) > turns:
        loop.callbacks[turns]()
        turns += 1
    meter.tap.feed(STOP + DONE, MS)
    meter.tap.finish(End.CLEAN, MS)

    assert turns > 1
    assert meter.counts("goodput_output_tokens_total") == {("m", "default", "good"): tokens}


def due_reads(meter: Meter, reads: list[bytes]) -> list[int]:
    """Return after which of these reads the tap asks to be looked at, and look at it then."""
    meter.tap.begin(200, SSE, "")
    due = []
    for i, data in enumerate(reads):
        if meter.tap.feed(data, i):
            due.append(i)
            meter.tap.digest()
    return due


def test_reads_are_looked_at_in_batches() -> None:
    """The first read is due at once, then ever more together, and any that is large."""
    meter = Meter()

    assert due_reads(meter, [TOKEN + TOKEN] * 100) == [0, 2, 6, 14, 30, 62, 94]
    assert meter.tap.feed(b":" * 20_000, 100)


def test_of_tokens_only_the_time_is_kept() -> None:
    """Reads that match the template are due in large batches, and one that does not at once."""
    meter = Meter()
    due = due_reads(meter, [ROLE, TOKEN, TOKEN, *[TOKEN] * 300, ROLE, TOKEN])
    meter.tap.feed(TOKEN, 305)

    assert due == [0, 2, 130, 258, 303]
    assert meter.tap._reads == []
    assert len(meter.tap._run_ns) == 2


def test_short_runs_do_not_hurry() -> None:
    """A stream that matches only now and then is looked at in the batches of the others."""
    due = due_reads(Meter(), [ROLE, *[TOKEN, TOKEN, TOKEN + TOKEN] * 40])

    assert len(due) < 8  # of 40 reads that do not match


def test_batches_change_no_figure() -> None:
    """Times, gaps and order are the same whenever the bytes are looked at."""
    reads = [ROLE, *[TOKEN] * 150, TOKEN + TOKEN, *[TOKEN] * 5, TOKEN[:9], TOKEN[9:], STOP, DONE]
    at_ms = [i * i for i in range(len(reads))]
    meters = [Meter(), Meter(), Meter()]
    for meter, every in zip(meters, (1, 7, len(reads)), strict=True):
        meter.tap.begin(200, SSE, "")
        for i, data in enumerate(reads):
            meter.tap.feed(data, at_ms[i] * MS)
            if i % every == 0:
                meter.tap.digest()
        meter.tap.finish(End.CLEAN, at_ms[-1] * MS)
    first, *others = [
        meter.counts("goodput_inter_chunk_latency_seconds_bucket") for meter in meters
    ]

    assert first
    assert all(first == other for other in others)
    assert {m.counts("goodput_stall_seconds_sum")["m", "default"] for m in meters} == {0.628}
    for meter in meters:
        assert meter.counts("goodput_output_tokens_total") == {("m", "default", "slow"): 158.0}


def test_what_is_held_is_bounded() -> None:
    """A tap that is looked at when it asks for it holds little, whatever is read."""
    meter = Meter()
    meter.tap.begin(200, SSE, "")
    for i in range(100):
        if meter.tap.feed(b"x" * (500 if i % 3 else 5000), i):
            meter.tap.digest()

        assert sum(map(len, meter.tap._reads)) <= 32 * 512


def test_a_tap_that_nobody_looks_at_holds_a_bounded_amount() -> None:
    """However far the queue is behind, the rest is read at once, and nothing is lost."""
    meter = Meter()
    meter.tap.begin(200, SSE, "")
    for i in range(50):
        meter.tap.feed((TOKEN + TOKEN) * 2000, i * MS)

        assert sum(map(len, meter.tap._reads)) <= 64 * 4096 + len(TOKEN) * 4000
    meter.tap.finish(End.CUT, 50 * MS)
    assert meter.counts("goodput_output_tokens_total") == {("m", "default", "error"): 200_000}
