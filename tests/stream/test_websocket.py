"""Frames to messages: any split, both directions, compressed or not, and frames that lie."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from goodput_proxy.stream.framing import HEAD_BYTES, TAIL_BYTES
from goodput_proxy.stream.inflate import Undecodable
from goodput_proxy.stream.websocket import MessageReader, read_extensions
from tests.frames import BINARY, CLOSE, CONTINUATION, PING, TEXT, Deflater, frame
from tests.streams import cut


def read(*reads: bytes, cap: int = 10_000, **agreed: bool) -> list[bytes | None]:
    """Return the messages of a connection whose bytes arrive in these reads."""
    reader = MessageReader(cap, **agreed)
    return [record.data for data in reads for record in reader.feed(data)]


def split(data: bytes) -> list[bytes]:
    """Return single bytes."""
    return [data[i : i + 1] for i in range(len(data))]


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 70_000), st.sampled_from([b"", b"\x01\xfe\x80\x7f"])), max_size=4
    ),
    st.data(),
)
def test_any_split_gives_the_same_messages(
    sizes: list[tuple[int, bytes]], data: st.DataObject
) -> None:
    """Lengths of every form, masked or not, wherever the network cuts."""
    texts = [bytes(i % 251 for i in range(size)) for size, _ in sizes]
    body = b"".join(frame(t, mask=mask) for t, (_, mask) in zip(texts, sizes, strict=True))
    cuts = sorted(data.draw(st.sets(st.integers(0, len(body)), max_size=20)))
    reads = [body[a:b] for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True)]

    assert read(*reads, cap=100_000) == texts


@settings(deadline=None)
@given(st.data(), st.booleans(), st.booleans())
def test_any_split_of_fragments_gives_the_same_messages(
    data: st.DataObject,
    compressed: bool,  # noqa: FBT001 -- hypothesis calls it
    takeover: bool,  # noqa: FBT001
) -> None:
    """Fragments, control frames between them, masks and compression do not change a message."""
    deflater = Deflater(takeover=takeover)
    texts = data.draw(st.lists(st.binary(max_size=300), max_size=5))
    body = b""
    for text in texts:
        payload = deflater.compress(text) if compressed else text
        pieces = cut(payload, data.draw(st.sets(st.integers(0, len(payload)), max_size=3))) or [b""]
        for i, piece in enumerate(pieces):
            mask = data.draw(st.sampled_from([b"", b"\x01\xfe\x80\x7f"]))
            body += frame(
                piece,
                CONTINUATION if i else TEXT,
                final=i == len(pieces) - 1,
                mask=mask,
                compressed=compressed and i == 0,
            )
            body += data.draw(st.sampled_from([b"", frame(b"ping", PING)]))
    reads = cut(body, data.draw(st.sets(st.integers(0, len(body)), max_size=20)))

    assert read(*reads, deflate=compressed, takeover=takeover) == texts
    assert read(*split(body), deflate=compressed, takeover=takeover) == texts


def test_fragments_with_control_frames_between() -> None:
    """A message is what its fragments hold, whatever stands between them."""
    body = (
        frame(b"one ", final=False)
        + frame(b"ping", PING)
        + frame(b"two ", CONTINUATION, final=False, mask=b"abcd")
        + frame(b"", CONTINUATION, final=False)
        + frame(b"three", CONTINUATION)
        + frame(b"")
        + frame(b"", CLOSE)
    )

    assert read(body) == read(*split(body)) == [b"one two three", b""]


def test_a_close_frame_is_the_last() -> None:
    """It is noticed when it is whole, and what follows is not looked at."""
    reader = MessageReader()
    body = frame(b"text") + frame(b"\x03\xe8bye", CLOSE) + b"\xff\xff"
    closed = []
    messages = []
    for piece in split(body):
        messages += [record.data for record in reader.feed(piece)]
        closed.append(reader.closed)

    assert messages == [b"text"]
    assert closed == [False] * (len(body) - 3) + [True] * 3
    assert read(body) == [b"text"]


def test_binary_messages_are_skipped() -> None:
    """Nothing in them is looked at, whole or in fragments."""
    body = frame(b"\x00", BINARY, final=False) + frame(b"\x01", CONTINUATION) + frame(b"text")

    assert read(body) == [b"text"]


@pytest.mark.parametrize("takeover", [True, False])
def test_compressed_messages(takeover: bool) -> None:  # noqa: FBT001 -- a test's parameter
    """The window is kept or not as agreed, also by messages that nobody reads."""
    deflater = Deflater(takeover=takeover)
    texts = [b"hello hello", b"hello again " * 9000, b"", b"hello hello"]
    body = frame(deflater.compress(b"hello binary"), BINARY, compressed=True)
    for text in texts:
        payload = deflater.compress(text)
        middle = len(payload) // 2
        body += frame(payload[:middle], final=False, compressed=True, mask=b"wxyz")
        body += frame(payload[middle:], CONTINUATION)
    body += frame(b"plain")

    expected = [*texts, b"plain"]
    assert read(body, cap=200_000, deflate=True, takeover=takeover) == expected
    assert read(*split(body), cap=200_000, deflate=True, takeover=takeover) == expected


def test_an_oversize_message_keeps_its_ends() -> None:
    """What is longer than the cap is not kept, and the next one is read."""
    reader = MessageReader(3000)
    text = b"begin" + b"x" * 100_000 + b"end"
    (long, short) = [r for piece in split(frame(text) + frame(b"a")) for r in reader.feed(piece)]

    assert (long.data, long.oversize, short.data) == (None, True, b"a")
    assert (long.head, long.tail) == (text[:HEAD_BYTES], text[-TAIL_BYTES:])


@pytest.mark.parametrize("compressed", [True, False])
def test_of_a_client_only_beginnings_are_kept(compressed: bool) -> None:  # noqa: FBT001
    """The rest of a long message is skipped, whatever else has to be done with it."""
    reader = MessageReader(1024, tails=False, deflate=compressed)
    deflater = Deflater()
    texts = [b"begin" + b"x" * 100_000, b"short"]
    payloads = [deflater.compress(text) for text in texts] if compressed else texts
    body = b"".join(frame(p, mask=b"wxyz", compressed=compressed) for p in payloads)
    (long, short) = [record for piece in split(body) for record in reader.feed(piece)]

    assert (long.oversize, long.head, short.data) == (True, texts[0][:HEAD_BYTES], b"short")
    assert len(long.tail) <= TAIL_BYTES


@pytest.mark.parametrize(
    "data",
    [
        frame(b"x", 3),
        frame(b"x", 11),
        frame(b"x", CONTINUATION),
        frame(b"x", final=False) + frame(b"y", TEXT),
        frame(b"x", compressed=True),
        bytes((0xA1, 0)),
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
    ],
)
def test_what_is_no_websocket(data: bytes) -> None:
    """Unknown frames, frames out of order and bits that nobody agreed on are given up."""
    with pytest.raises(Undecodable):
        read(data)


@pytest.mark.parametrize(
    "payload",
    [b"\xff" * 20, Deflater().compress(bytes(2**25)), zlib.compress(b"final")[2:-4]],
)
def test_compression_that_lies(payload: bytes) -> None:
    """No deflate, no end, and an end of the window are given up."""
    with pytest.raises(Undecodable):
        read(frame(payload, compressed=True), deflate=True)


@pytest.mark.parametrize(
    ("value", "server", "agreed"),
    [
        ("", True, {}),
        ("x-other", True, {}),
        ("permessage-deflate", True, {"deflate": True, "takeover": True}),
        (
            "x, permessage-deflate; server_no_context_takeover; client_max_window_bits=12",
            True,
            {"deflate": True, "takeover": False},
        ),
        (
            "permessage-deflate;server_no_context_takeover",
            False,
            {"deflate": True, "takeover": True},
        ),
        (
            "Permessage-Deflate;client_no_context_takeover",
            False,
            {"deflate": True, "takeover": False},
        ),
    ],
)
def test_extensions(value: str, server: bool, agreed: dict[str, bool]) -> None:  # noqa: FBT001
    """A 101 says for each direction what was agreed on."""
    assert read_extensions(value, server=server) == agreed
