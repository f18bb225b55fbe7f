"""Content codings: any split, bounded steps, linear time, and bodies that lie."""

from __future__ import annotations

import gzip
import random
import zlib
from typing import TYPE_CHECKING

import brotli
import pytest
from backports import zstd
from hypothesis import given
from hypothesis import strategies as st

from goodput_proxy.stream.inflate import CODINGS, PIECE_BYTES, Undecodable, make_inflater

if TYPE_CHECKING:
    from collections.abc import Callable


def bare_deflate(data: bytes) -> bytes:
    """Compress without zlib's header, as some servers do."""
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return compressor.compress(data) + compressor.flush()


COMPRESSORS: list[tuple[str, Callable[[bytes], bytes]]] = [
    ("gzip", gzip.compress),
    ("x-gzip", gzip.compress),
    ("deflate", zlib.compress),
    ("deflate", bare_deflate),
    ("br", brotli.compress),
    ("zstd", zstd.compress),
]


def inflate(coding: str, *reads: bytes) -> bytes:
    """Return what comes out of a body that arrives in these reads."""
    inflater = make_inflater(coding)
    assert inflater is not None
    body = b""
    for read in reads:
        piece = inflater.step(read)
        body += piece
        while inflater.pending:
            piece = inflater.step()
            assert len(piece) <= PIECE_BYTES
            body += piece
    return body


def test_every_coding_is_tested() -> None:
    """The table above names them all."""
    assert {coding for coding, _ in COMPRESSORS} == set(CODINGS)


@pytest.mark.parametrize(("coding", "compress"), COMPRESSORS)
@given(data=st.data())
def test_any_split_gives_the_same_bytes(
    coding: str, compress: Callable[[bytes], bytes], data: st.DataObject
) -> None:
    """What was compressed comes out again, wherever the network cuts."""
    plain = data.draw(st.binary(max_size=300)) * data.draw(st.sampled_from([1, 5, 400]))
    body = compress(plain)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(body)), max_size=8)))
    reads = [body[a:b] for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True)]

    assert inflate(coding, *reads) == plain


@pytest.mark.parametrize(("coding", "compress"), COMPRESSORS)
def test_a_read_that_stands_for_much(coding: str, compress: Callable[[bytes], bytes]) -> None:
    """All of it comes out, piece by piece."""
    plain = b"data: cumulative\n\n" * 30_000

    assert inflate(coding, compress(plain)) == plain


@pytest.mark.parametrize(("coding", "compress"), [COMPRESSORS[0], COMPRESSORS[5]])
def test_several_members(coding: str, compress: Callable[[bytes], bytes]) -> None:
    """Members and frames that follow one another are one body."""
    body = compress(b"one ") + compress(b"two ") + compress(b"three")

    assert inflate(coding, body) == b"one two three"
    assert inflate(coding, *(body[i : i + 1] for i in range(len(body)))) == b"one two three"


def test_a_flushed_record_is_out_at_once() -> None:
    """What the sender flushes is readable without what follows it."""
    compressor = zlib.compressobj(wbits=31)
    inflater = make_inflater("gzip")
    assert inflater is not None
    for record in (b"data: a\n\n", b"data: b\n\n"):
        read = compressor.compress(record) + compressor.flush(zlib.Z_SYNC_FLUSH)
        assert inflater.step(read) == record


@pytest.mark.parametrize("coding", sorted(CODINGS))
def test_a_body_that_is_not_what_it_says(coding: str) -> None:
    """A wrong coding is found out, and said so."""
    with pytest.raises(Undecodable):
        inflate(coding, b"data: plain text\n\n" * 10, b"data: more\n\n")


@pytest.mark.parametrize("coding", ["", "identity", "compress", "gzip, br"])
def test_unknown_codings(coding: str) -> None:
    """There is nothing that undoes them."""
    assert make_inflater(coding) is None


def test_a_bomb_is_given_up() -> None:
    """Output without end stops at a bound that no stream of tokens comes near."""
    bomb = zstd.compress(bytes(2**26))
    with pytest.raises(Undecodable):
        inflate("zstd", bomb)
    assert len(bomb) < 10_000


@pytest.mark.parametrize(("coding", "compress"), COMPRESSORS)
def test_steps_are_linear(coding: str, compress: Callable[[bytes], bytes]) -> None:
    """The number of steps grows with the length and no faster."""
    body = compress(random.Random(1).randbytes(200_000))
    inflater = make_inflater(coding)
    assert inflater is not None
    steps = 0
    for i in range(0, len(body), 4096):
        inflater.step(body[i : i + 4096])
        steps += 1
        while inflater.pending:
            inflater.step()
            steps += 1

    assert steps < 200
