"""Templates: what may vary between records that say the same, and what may not."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.meter import FORMATS, Format
from goodput_proxy.stream import find_endpoint, make_dialect, make_framer
from goodput_proxy.stream.events import (
    CounterEvent,
    ErrorEvent,
    Event,
    FinishEvent,
    TokenEvent,
    TokenSource,
    UsageEvent,
)
from goodput_proxy.stream.reader import StreamReader
from goodput_proxy.stream.template import Template, learn

TOKEN: list[Event] = [TokenEvent()]


def template(first: bytes, second: bytes, *said: list[Event]) -> Template | None:
    """Return what is learned from two records, which are tokens unless other events are given."""
    before, after = said or (TOKEN, TOKEN)
    return learn(first, before, second, after)


def known(first: bytes, second: bytes, *said: list[Event]) -> Template:
    """Return the template that these records surely have."""
    found = template(first, second, *said)
    assert found is not None
    return found


A = b'{"n":1,"t":"a","i":"x"}'
B = b'{"n":25,"t":"b","i":"x"}'


@pytest.mark.parametrize(
    ("data", "matches"),
    [
        (b'{"n":7,"t":"c","i":"x"}', True),
        (b'{"n":0,"t":"\xc3\xa9","i":"x"}', True),
        (b'{"n":-1.5e+3,"t":"c d","i":"x"}', True),
        (b'{"n":0.25,"t":"{}:,","i":"x"}', True),
        (b'{"n":7,"t":"","i":"x"}', False),
        (b'{"n":7,"t":"\\n","i":"x"}', False),
        (b'{"n":7,"t":"a\n","i":"x"}', False),
        (b'{"n":7,"t":"\xff","i":"x"}', False),
        (b'{"n":7,"t":"c","i":"y"}', False),
        (b'{"n":7,"t":"c","i":"x"} ', False),
        (b' {"n":7,"t":"c","i":"x"}', False),
        (b'{"n":07,"t":"c","i":"x"}', False),
        (b'{"n":1.,"t":"c","i":"x"}', False),
        (b'{"n":,"t":"c","i":"x"}', False),
        (b'{"n":null,"t":"c","i":"x"}', False),
        (b'{"n":7,"t":null,"i":"x"}', False),
        (b'{"n":7,"t":"c","u":1,"i":"x"}', False),
        (b'{"n":7,"t":"' + b"c" * 2000 + b'","i":"x"}', False),
        (b'{"n":' + b"1" * 40 + b',"t":"c","i":"x"}', False),
        (b'{"n":7,"t":"c', False),
        (b"", False),
    ],
)
def test_what_matches(data: bytes, matches: bool) -> None:  # noqa: FBT001 -- a test's parameter
    """Numbers and texts may be any that JSON allows as they are; all else is literal."""
    assert known(A, B).matches(data) is matches


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (A, b'{"n":1,"t":"b"}'),
        (b'{"n":1}', A),
        (A, b'{"n":1,"t":7,"i":"x"}'),
        (A, b'{"n":"1","t":"b","i":"x"}'),
        (A, b'{"m":1,"t":"b","i":"x"}'),
        (A, b'{"n":1,"t":"b","i":"x"}\n'),
        (A, b'{"n" :1,"t":"b","i":"x"}'),
        (b'{"type":"a"}', b'{"type":"b"}'),
        (b'{"x":{"finish_reason":"a"}}', b'{"x":{"finish_reason":"b"}}'),
        (b"[%b]" % b",".join([b"1"] * 20), b"[%b]" % b",".join([b"2"] * 20)),
    ],
)
def test_records_without_a_template(first: bytes, second: bytes) -> None:
    """Names, kinds of values, labels and structure never vary, nor do too many values."""
    assert template(first, second) is None


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ([], []),
        (TOKEN, []),
        (TOKEN, [TokenEvent(1)]),
        ([TokenEvent(hidden=True)], [TokenEvent(hidden=True)]),
        ([FinishEvent(0, "stop")], [FinishEvent(0, "stop")]),
        ([TokenEvent(), ErrorEvent()], [TokenEvent(), ErrorEvent()]),
        ([TokenEvent(), TokenEvent()], [TokenEvent(), TokenEvent()]),
        ([CounterEvent(0, 1)], [CounterEvent(0, 25)]),
        ([CounterEvent(0, 1), TokenEvent()], [CounterEvent(1, 25), TokenEvent()]),
        ([CounterEvent(0, 1), TokenEvent()], [CounterEvent(0, 26), TokenEvent()]),
        ([UsageEvent(None), TokenEvent()], [UsageEvent(25), TokenEvent()]),
        ([UsageEvent(1), TokenEvent()], [CounterEvent(0, 25), TokenEvent()]),
        (
            [CounterEvent(0, 1), UsageEvent(1), TokenEvent()],
            [CounterEvent(0, 25), UsageEvent(25), TokenEvent()],
        ),
    ],
)
def test_records_that_did_not_say_the_same(first: list[Event], second: list[Event]) -> None:
    """Exactly one visible token, and at most one counter that is there to be seen."""
    assert template(A, B, first, second) is None


def test_a_counter_has_to_be_the_only_number_of_its_kind() -> None:
    """Two numbers that could be it are told apart by nothing."""
    said: Any = ([CounterEvent(0, 1), TokenEvent()], [CounterEvent(0, 2), TokenEvent()])

    assert template(b'{"a":1,"b":1}', b'{"a":2,"b":2}', *said) is None
    assert template(b'{"a":1,"b":9}', b'{"a":2,"b":8}', *said) is not None


def test_a_counter_grows() -> None:
    """A record whose counter stands still says something else."""
    usage = UsageEvent(1, 9, TokenSource.USAGE)
    after: list[Event] = [UsageEvent(25, 9, TokenSource.USAGE), TokenEvent()]
    form = known(A, B, [usage, TokenEvent()], after)

    assert not form.matches(b'{"n":25,"t":"c","i":"x"}')
    assert not form.matches(b'{"n":26.5,"t":"c","i":"x"}')
    assert form.matches(b'{"n":26,"t":"c","i":"x"}')
    assert form.events == [UsageEvent(26, 9, TokenSource.USAGE), TokenEvent()]
    form.follow([UsageEvent(30, 9), CounterEvent(1, 90), TokenEvent()])
    assert not form.matches(b'{"n":30,"t":"c","i":"x"}')
    assert form.matches(b'{"n":31,"t":"c","i":"x"}')


def test_other_forms_follow_no_counter() -> None:
    """A template without a counter has nothing to take note of."""
    form = known(A, B)
    form.follow([CounterEvent(0, 9)])

    assert form.events == TOKEN


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.name)
@settings(deadline=None)
@given(data=st.data())
def test_the_short_cut_is_exact(form: Format, data: st.DataObject) -> None:
    """Of every format the events are those of the long way, whatever texts and counters come."""
    texts = st.sampled_from(["a", " the", "", "\\n", '\\"', "\u00e9", "}", "\\u00e9"])
    drawn = data.draw(st.lists(st.tuples(st.integers(0, 2), texts), min_size=3, max_size=12))
    n, reads = 1, []
    for step, text in drawn:
        n += step  # counters also stand still
        reads.append(form.make(n, text).encode())
    endpoint = find_endpoint(form.path)
    assert endpoint is not None

    def make() -> Any:
        framer = make_framer(endpoint, form.media_type, 48 * 1024)
        assert framer is not None
        return framer, make_dialect(endpoint, generates=True, echo=False)

    framer, dialect = make()
    expected = [[e for r in framer.feed(read) for e in dialect.read(r)] for read in reads]
    reader = StreamReader(*make())

    assert [reader.read(read) for read in reads] == expected
