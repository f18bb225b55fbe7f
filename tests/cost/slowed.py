"""The proxy with a mistake in it: each record is parsed once more than it has to be.

`python -m tests.cost.slowed` takes the arguments of `goodput-proxy`. It shows that the guard bites.
"""

from __future__ import annotations

import json
from contextlib import suppress

from goodput_proxy.__main__ import main
from goodput_proxy.tap import Tap

_feed = Tap.feed


def _feed_slowly(self: Tap, data: bytes, now_ns: int) -> bool:
    with suppress(ValueError):
        json.loads(data.removeprefix(b"data: "))
    return _feed(self, data, now_ns)


if __name__ == "__main__":
    setattr(Tap, "feed", _feed_slowly)  # noqa: B010 -- a type checker rightly minds the other way
    main()
