"""A recipe from start to end: a proxy, the tool, and everybody who counts."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.integration.harness import scrape
from tests.integration.process import serving
from tests.loadtools.agree import check
from tests.loadtools.site import limit_flags
from tests.loadtools.watch import watch

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.loadtools.agree import Check
    from tests.loadtools.watch import Watch
    from tests.samples import Samples


@dataclass(frozen=True, slots=True)
class Played:
    """What came out."""

    sent: int
    samples: Samples
    seen: Watch

    @property
    def checks(self) -> list[Check]:
        """What has to agree."""
        return check(self.sent, self.samples, self.seen)


async def play(upstream: str, send: Callable[[int], Awaitable[int]]) -> Played:
    """Let somebody send through a proxy of his own, with the page's limits.

    Args:
        upstream: the simulated server.
        send: takes the proxy's port, and returns how many requests it has sent.
    """
    async with serving(upstream, *limit_flags()) as proxy:
        sending = asyncio.ensure_future(send(proxy.port))
        try:
            seen = await watch(f"http://127.0.0.1:{proxy.admin_port}", sending)
        finally:
            sending.cancel()
        return Played(await sending, await scrape(proxy.admin_port), seen)
