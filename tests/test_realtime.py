"""Realtime: what an utterance is, when it begins, and how it ends."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from goodput_proxy import realtime
from goodput_proxy.metrics import Metrics
from goodput_proxy.policy import build_policy
from goodput_proxy.realtime import RealtimeMeter
from goodput_proxy.record import End
from goodput_proxy.settings import Settings
from goodput_proxy.tapqueue import TapQueue
from tests.frames import BINARY, CLOSE, PING, Deflater, frame

if TYPE_CHECKING:
    from goodput_proxy.heads import Headers

MS = 1_000_000
COMMIT = {"type": "input_audio_buffer.commit"}
CREATE = {"type": "response.create"}
CREATED = {"type": "response.created"}
DELTA = {"type": "response.output_text.delta", "delta": "hi"}
DONE = {"type": "response.done", "response": {"status": "completed", "usage": {"output_tokens": 3}}}
HEARD = {"type": "transcription.delta", "delta": "hi"}
SILENCE = {"type": "transcription.delta", "delta": ""}
TRANSCRIBED = {"type": "transcription.done", "text": "hi", "usage": {"completion_tokens": 2}}


class Connection:
    """A realtime connection with the real metrics around it."""

    def __init__(
        self,
        target: str = "/v1/realtime?model=m",
        extensions: bytes = b"",
        headers: Headers = (),
        **settings_of_headers: Any,
    ) -> None:
        settings = Settings.model_validate({"slo_headers": settings_of_headers})
        policy = build_policy(settings)
        self.metrics = Metrics(policy, 32)
        self.queue = TapQueue(lambda _: None, self.metrics)
        self.meter = RealtimeMeter(
            target, headers, policy, self.metrics, settings.limits, queue=self.queue
        )
        self.meter.begin(((b"Sec-WebSocket-Extensions", extensions),))

    def say(self, at_ms: int, *messages: Any) -> None:
        """Let the client send messages."""
        for message in messages:
            self.send(at_ms, frame(json.dumps(message).encode(), mask=b"mask"))

    def answer(self, at_ms: int, *messages: Any) -> None:
        """Let the server send messages."""
        for message in messages:
            self.receive(at_ms, frame(json.dumps(message).encode()))

    def send(self, at_ms: int, data: bytes) -> None:
        """Let the client send bytes."""
        self.meter.from_client(data, at_ms * MS)
        self.look()

    def receive(self, at_ms: int, data: bytes) -> None:
        """Let the server send bytes."""
        self.meter.from_server(data, at_ms * MS)
        self.look()

    def look(self) -> None:
        """Let the meter look at everything."""
        while self.queue._due:
            self.queue._drain()

    def counts(self, metric: str) -> dict[tuple[str, ...], float]:
        """Return the samples of a metric that are not zero, by their label values."""
        return {
            tuple(sample.labels.values()): sample.value
            for family in self.metrics.registry.collect()
            for sample in family.samples
            if sample.name == metric and sample.value
        }

    @property
    def verdicts(self) -> dict[tuple[str, ...], float]:
        """The verdict counter, by verdict and cause."""
        return {key[3:]: n for key, n in self.counts("goodput_requests_total").items()}

    @property
    def ttft_ms(self) -> float:
        """The sum of all TTFTs."""
        return round(1000 * sum(self.counts("goodput_time_to_first_token_seconds_sum").values()))

    @property
    def in_flight(self) -> dict[tuple[str, ...], float]:
        """The gauge of requests under way."""
        return self.counts("goodput_requests_in_flight")


def test_an_utterance_is_a_request() -> None:
    """From the client's wish to the last event; the next one is another request."""
    connection = Connection()
    connection.answer(0, {"type": "session.created"})
    for begin in (1000, 5000):
        connection.say(begin, {"type": "input_audio_buffer.append", "audio": "x"}, COMMIT)
        assert connection.in_flight == {(): 1.0}
        connection.answer(begin + 100, SILENCE, HEARD)
        connection.answer(begin + 150, HEARD, TRANSCRIBED)
        assert connection.in_flight == {}
    connection.meter.finish(End.CLEAN, 9000 * MS)

    assert connection.verdicts == {("good", ""): 2.0}
    assert connection.ttft_ms == 200
    assert connection.counts("goodput_output_tokens_total") == {("m", "default", "good"): 4.0}
    assert connection.counts("goodput_tap_errors_total") == {}


def test_the_limits_of_the_handshake_are_those_of_each_utterance() -> None:
    """Its headers are looked at once, and hold as long as the connection does."""
    headers = [(b"x-slo-ttft-ms", b"150"), (b"x-slo-tpot-ms", b"soon")]
    connection = Connection(headers=headers, limits=True)
    for begin, ttft in ((1000, 150), (5000, 151)):
        connection.say(begin, CREATE)
        connection.answer(begin + ttft, CREATED, DELTA, DELTA, DONE)

    assert connection.verdicts == {("good", ""): 1.0, ("slow", "ttft"): 1.0}
    assert connection.counts("goodput_slo_header_errors_total") == {("not_a_number",): 1.0}


def test_the_last_wish_before_the_first_token_counts() -> None:
    """Audio is committed first and the answer asked for later; what comes after belongs to it."""
    connection = Connection()
    connection.say(0, COMMIT)
    connection.say(300, CREATE)
    connection.answer(310, CREATED)
    connection.answer(400, DELTA)
    connection.say(450, COMMIT)
    connection.answer(500, DELTA, DONE)

    assert connection.verdicts == {("good", ""): 1.0}
    assert connection.ttft_ms == 100


@pytest.mark.parametrize(
    "announcement", ["input_audio_buffer.speech_stopped", "input_audio_buffer.committed"]
)
def test_the_server_finds_the_end_of_speech(announcement: str) -> None:
    """Where nobody asks, the server's first announcement is the beginning."""
    connection = Connection()
    connection.answer(1000, {"type": announcement})
    connection.answer(1200, CREATED)
    connection.answer(1300, DELTA, DELTA, DONE)

    assert connection.verdicts == {("good", ""): 1.0}
    assert connection.ttft_ms == 300


def test_transcripts_of_the_input_are_not_the_answer() -> None:
    """Beside spoken answers they neither count nor end anything; alone they are the answer."""
    name = "conversation.item.input_audio_transcription"
    delta, end = {"type": f"{name}.delta", "delta": "x"}, {"type": f"{name}.completed"}
    both, alone = Connection(), Connection()
    both.say(0, CREATE)
    both.answer(10, CREATED, delta, end)
    assert both.verdicts == {}
    both.answer(200, DELTA, DONE)
    alone.say(0, COMMIT)
    alone.answer(100, delta, end)

    assert both.ttft_ms == 200
    assert both.verdicts == {("good", ""): 1.0}
    assert alone.verdicts == {("good_partial", ""): 1.0}


@pytest.mark.parametrize(
    ("last", "verdict"),
    [
        ({"type": "error", "error": {"type": "server_error"}}, ("error", "stream_error")),
        ({"type": "response.done", "response": {"status": "failed"}}, ("error", "stream_error")),
        ({"type": "response.done", "response": {"status": "cancelled"}}, ("cancelled", "client")),
        ({"type": "response.done", "response": {"status": "incomplete"}}, ("good_partial", "")),
        (
            {"type": "conversation.item.input_audio_transcription.failed", "error": {}},
            ("error", "stream_error"),
        ),
    ],
)
def test_ends(last: dict[str, Any], verdict: tuple[str, str]) -> None:
    """An answer can fail, be cancelled, and stop short."""
    connection = Connection()
    connection.say(0, CREATE)
    connection.answer(10, DELTA, last)
    connection.meter.finish(End.CUT, 20 * MS)

    assert connection.verdicts == {verdict: 1.0}
    assert connection.in_flight == {}


@pytest.mark.parametrize(
    ("end", "verdict"),
    [
        (End.CUT, ("error", "truncated")),
        (End.CLEAN, ("error", "truncated")),
        (End.TIMED_OUT, ("error", "truncated")),
        (End.CLIENT_LEFT, ("cancelled", "client")),
    ],
)
def test_a_connection_that_ends_within_an_utterance(end: End, verdict: tuple[str, str]) -> None:
    """It is the server's fault unless the client has left."""
    connection = Connection()
    connection.say(0, CREATE)
    connection.answer(10, DELTA)
    connection.meter.finish(end, 20 * MS)

    assert connection.verdicts == {verdict: 1.0}


@pytest.mark.parametrize(
    ("client_first", "verdict"),
    [(True, ("cancelled", "client")), (False, ("error", "truncated"))],
)
def test_a_close_frame_within_an_utterance(
    client_first: bool,  # noqa: FBT001 -- a test's parameter
    verdict: tuple[str, str],
) -> None:
    """Who says so first has ended it, whoever closes the connection; what follows is no answer."""
    connection = Connection()
    connection.say(0, CREATE)
    connection.answer(10, DELTA)
    if client_first:
        connection.send(20, frame(b"\x03\xe8", CLOSE, mask=b"mask"))
    connection.answer(30, DELTA)
    connection.receive(40, frame(b"\x03\xe8", CLOSE))
    connection.answer(50, CREATED)
    connection.meter.finish(End.CUT, 60 * MS)

    assert connection.verdicts == {verdict: 1.0}
    assert connection.in_flight == {}


@pytest.mark.parametrize("spoke_ms", [None, 350])
def test_a_client_that_left_long_before_the_end(spoke_ms: int | None) -> None:
    """What counts is when it left, although the server may still have spoken after."""
    connection = Connection()
    connection.say(0, CREATE)
    if spoke_ms is not None:
        connection.answer(spoke_ms, DELTA)
    connection.meter.finish(End.CLIENT_LEFT, 100 * MS)

    assert connection.verdicts == {("cancelled", "client"): 1.0}


def test_a_connection_between_utterances() -> None:
    """Errors and ends that answer nobody are not requests."""
    connection = Connection()
    connection.answer(5, {"type": "error"}, DELTA, {"no": "type"}, [1])
    connection.receive(6, frame(b"not json") + frame(b"\x00", BINARY))
    connection.meter.finish(End.CLIENT_LEFT, 9 * MS)

    assert connection.verdicts == {}


@pytest.mark.parametrize(
    ("target", "said", "heard", "model"),
    [
        ("/v1/realtime?model=a%2Fb", {}, {}, "a/b"),
        ("/v1/realtime", {"model": "c"}, {}, "c"),
        ("/v1/realtime", {"session": {"model": "d"}}, {}, "d"),
        ("/v1/realtime", {}, {"session": {"model": "e"}}, "e"),
        ("/v1/realtime?model=f", {"model": "c"}, {"session": {"model": "e"}}, "f"),
        ("/v1/realtime", {}, {}, "unknown"),
    ],
)
def test_the_model(target: str, said: Any, heard: Any, model: str) -> None:
    """The query names it, or the session."""
    connection = Connection(target)
    created: dict[str, Any] = {"type": "session.created", **heard}
    connection.answer(0, created)
    update: dict[str, Any] = {"type": "session.update", **said}
    connection.say(0, update, COMMIT)
    connection.answer(10, HEARD, TRANSCRIBED)

    (labels,) = connection.counts("goodput_requests_total")
    assert labels == ("realtime", model, "default", "good", "")


def test_large_messages() -> None:
    """Audio of either side is longer than what is kept, and does not disturb."""
    connection = Connection()
    connection.say(0, {"type": "input_audio_buffer.append", "audio": "x" * 200_000}, CREATE)
    connection.answer(10, {"type": "response.output_audio.delta", "delta": "y" * 200_000})
    connection.answer(20, {"type": "response.output_audio.delta", "delta": "z"}, DONE)

    assert connection.verdicts == {("good", ""): 1.0}
    assert connection.counts("goodput_tap_errors_total") == {("oversize_record",): 1.0}


def test_a_large_wish() -> None:
    """Its own type counts, not those of the tools in it."""
    connection = Connection()
    tools = [{"type": "function", "name": "f", "description": "x" * 3000}]
    connection.say(0, {**CREATE, "response": {"tools": tools}})
    connection.answer(50, CREATED)
    output = [{"type": "message", "content": "x" * 50_000}]
    done = {"type": "response.done", "response": {"output": output, "status": "completed"}}
    connection.answer(100, DELTA, done)

    assert connection.ttft_ms == 100
    assert connection.in_flight == {}


def test_large_messages_are_known_by_their_names() -> None:
    """Other things in them have types as well, and may stand before their own."""
    item = {"type": "message", "content": [{"type": "input_text", "text": "x" * 2000}]}
    output = {"type": "message", "content": [{"type": "output_text", "text": "y" * 50_000}]}
    said = {"status": "completed", "usage": {"output_tokens": 3}}
    connection = Connection()
    connection.say(0, {"type": "conversation.item.create", "item": item})
    assert connection.in_flight == {}
    connection.say(100, {"type": "response.create", "response": {"input": [item]}})
    connection.answer(200, CREATED, DELTA, DELTA)
    connection.answer(300, {"type": "response.done", "response": {"output": [output], **said}})
    assert connection.verdicts == {("good", ""): 1.0}
    connection.say(400, CREATE)
    connection.answer(500, DELTA)
    connection.answer(600, {"response": {"output": [output], **said}, "type": "response.done"})

    assert connection.verdicts == {("good", ""): 2.0}
    assert connection.ttft_ms == 200
    assert connection.in_flight == {}


def test_the_end_of_the_audio_is_no_wish_of_its_own() -> None:
    """A commit asks vLLM, which is told by another, a final one, that no audio follows."""
    connection, final = Connection(), {**COMMIT, "final": True}
    connection.say(0, COMMIT, final)
    connection.answer(100, HEARD, TRANSCRIBED)
    connection.say(200, COMMIT)
    connection.answer(300, HEARD)
    connection.say(320, final)
    connection.answer(350, HEARD, TRANSCRIBED)
    connection.say(600, final)
    assert connection.in_flight == {}
    connection.meter.finish(End.CLIENT_LEFT, 700 * MS)

    assert connection.verdicts == {("good", ""): 2.0}
    assert connection.ttft_ms == 200


def test_compressed_connections() -> None:
    """What was agreed on for each direction is undone."""
    connection = Connection(extensions=b"permessage-deflate; server_no_context_takeover")
    client, server = Deflater(), Deflater(takeover=False)
    for at, message in ((0, COMMIT), (50, CREATE)):
        payload = client.compress(json.dumps(message).encode())
        connection.send(at, frame(payload, mask=b"abcd", compressed=True))
    answers: list[dict[str, Any]] = [DELTA, DELTA, DONE]
    for answer in answers:
        payload = server.compress(json.dumps(answer).encode())
        connection.receive(150, frame(payload, compressed=True))

    assert connection.verdicts == {("good", ""): 1.0}
    assert connection.ttft_ms == 100


def test_what_is_no_websocket_is_not_measured() -> None:
    """An utterance that cannot be followed is neither good nor bad; nothing is looked at after."""
    connection = Connection()
    connection.say(0, CREATE)
    connection.receive(5, b"\xff\xff")
    connection.answer(10, DELTA, DONE)
    connection.say(20, CREATE)
    connection.meter.finish(End.CLEAN, 30 * MS)

    assert connection.verdicts == {}
    assert connection.in_flight == {}
    assert connection.counts("goodput_tap_errors_total") == {("framing",): 1.0}
    assert connection.counts("goodput_passthrough_requests_total") == {("unmeasured",): 1.0}


@pytest.mark.parametrize("name", ["_agree", "_hear", "_answer", "_close", "_cut", "_read"])
def test_a_defect_of_the_meter_stays_in_it(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Whatever breaks is counted, and nobody else hears of it."""

    def fail(*_: Any) -> None:
        raise ZeroDivisionError

    if not realtime.__file__.endswith(".py"):
        pytest.skip("methods of compiled classes are bound when they are compiled")
    monkeypatch.setattr(RealtimeMeter, name, fail)
    connection = Connection()
    connection.say(0, CREATE)
    connection.answer(10, DELTA, DONE)
    connection.meter.finish(End.CLIENT_LEFT, 30 * MS)

    assert connection.counts("goodput_tap_errors_total")[("internal",)] >= 1.0
    assert connection.in_flight == {}


def test_work_is_done_in_small_steps() -> None:
    """Many frames at once, and one that inflates a thousandfold, leave others their turns."""
    for data in (frame(b"", PING, mask=b"mask") * 10_000, bomb(50)):
        connection = Connection(extensions=b"permessage-deflate")
        connection.say(0, CREATE)
        connection.meter.from_client(data, 1 * MS)
        connection.meter.from_server(frame(json.dumps(DELTA).encode()), 2 * MS)
        connection.meter.finish(End.CLIENT_LEFT, 3 * MS)
        steps = 1
        while not connection.meter.digest():
            steps += 1

        assert steps > len(data) // 1024
        assert connection.verdicts == {("cancelled", "client"): 1.0}
        assert connection.counts("goodput_tap_errors_total") == {}


def bomb(messages: int) -> bytes:
    """Return frames that inflate to a MiB each."""
    deflater = Deflater()
    payloads = [deflater.compress(bytes(2**20)) for _ in range(messages)]
    return b"".join(frame(payload, mask=b"mask", compressed=True) for payload in payloads)


def test_who_is_too_fast_is_not_measured() -> None:
    """What waits to be looked at is bounded; the bytes have passed before."""
    connection = Connection()
    connection.say(0, CREATE)
    for _ in range(4):
        connection.meter.from_client(b"\x89\x80mask" * 20_000, 1 * MS)
    assert connection.meter.digest()
    connection.answer(10, DELTA, DONE)
    connection.meter.finish(End.CLIENT_LEFT, 30 * MS)

    assert connection.verdicts == {}
    assert connection.in_flight == {}
    assert connection.counts("goodput_tap_errors_total") == {("overload",): 1.0}
    assert connection.counts("goodput_passthrough_requests_total") == {("unmeasured",): 1.0}
