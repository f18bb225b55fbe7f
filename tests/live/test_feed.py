"""The feed: one message a second, made once for all, and only while somebody listens."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from time import monotonic

import pytest

from goodput_proxy.live import feed as feed_module
from goodput_proxy.live.feed import Feed
from tests.waiting import eventually

PERIOD_NS = 50_000_000


class Source:
    """What makes messages, and remembers when."""

    def __init__(self) -> None:
        self.made: list[float] = []
        self.error: Exception | None = None

    async def make(self) -> bytes:
        """Return a message."""
        self.made.append(monotonic())
        if self.error is not None:
            raise self.error
        return b"%d" % len(self.made)


async def listen(feed: Feed, messages: int) -> list[tuple[int, bytes]]:
    heard = []
    async with aclosing(feed.listen()) as stream:
        async for message in stream:
            heard.append(message)
            if len(heard) == messages:
                break
    return heard


async def test_a_message_is_made_once_for_all() -> None:
    """Three listeners hear the same, and it was made for one."""
    source = Source()
    feed = Feed(source.make, PERIOD_NS)
    heard = await asyncio.gather(*(listen(feed, 2) for _ in range(3)))

    assert heard == [[(1, b"1"), (2, b"2")]] * 3
    assert len(source.made) == 2


async def test_there_is_one_message_a_second() -> None:
    """Each comes shortly after a second of the monotonic clock has passed."""
    source = Source()
    await listen(Feed(source.make), 2)
    seconds = [int(at_s) for at_s in source.made]

    assert seconds == [seconds[0], seconds[0] + 1]


async def test_nothing_is_made_for_nobody() -> None:
    """Before the first listener, and after the last, nothing runs; the next one wakes it."""
    source = Source()
    feed = Feed(source.make, PERIOD_NS)
    await listen(feed, 1)
    await eventually(lambda: feed._task is None, "the feed rests")
    made = len(source.made)
    heard = await listen(feed, 1)

    assert made == 1
    assert heard == [(2, b"2")]


async def test_a_slow_listener_sees_that_it_missed_something() -> None:
    """It delays nobody, and the number of the next message tells."""
    source = Source()
    feed = Feed(source.make, PERIOD_NS)
    other = asyncio.create_task(listen(feed, 3))
    async with aclosing(feed.listen()) as stream:
        first, _ = await anext(stream)
        await other
        late, _ = await anext(stream)

    assert first == 1
    assert late >= 4


async def test_close_lets_everybody_go() -> None:
    """Those who listen come to an end, and nobody new is taken."""
    feed = Feed(Source().make, PERIOD_NS)
    listeners = [asyncio.create_task(listen(feed, 9)) for _ in range(2)]
    await eventually(lambda: feed._task is not None, "the feed runs")
    feed.close()

    assert await asyncio.gather(*listeners) == [[], []]
    assert feed.full
    assert await listen(feed, 1) == []


async def test_a_defect_ends_the_listeners_and_not_the_feed() -> None:
    """Who listens learns of it instead of waiting for ever; the next one starts anew."""
    source = Source()
    source.error = ValueError("a defect")
    feed = Feed(source.make, PERIOD_NS)
    with pytest.raises(ValueError, match="a defect"):
        await listen(feed, 1)
    source.error = None

    assert await listen(feed, 1) == [(1, b"2")]


async def test_listeners_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks first is told that there are enough."""
    monkeypatch.setattr(feed_module, "MAX_LISTENERS", 1)
    feed = Feed(Source().make, PERIOD_NS)
    assert not feed.full
    listener = asyncio.create_task(listen(feed, 1))
    await eventually(lambda: feed.full, "the feed is full")
    await listener

    assert not feed.full
