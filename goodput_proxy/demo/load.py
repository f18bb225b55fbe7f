"""Closed-loop load: users who each send their next request when the last one has been answered.

Owns the users and the HTTP client; what they ask for is said by `workload`, what they see is
measured by `records`. It must not know what answers it, and it must be cheap, since it shares the
machine with what it measures.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Self

import aiohttp
import msgspec

from .records import CUT, AnswerReader
from .workload import choices_of

if TYPE_CHECKING:
    from .records import ClientRecord
    from .workload import Ask, Workload

UsersAt = Callable[[float], int]
"""How many users there are after so many seconds."""

# How often the number of users follows its schedule.
RESIZE_INTERVAL_S = 0.05

# A user whose request failed waits before the next, so that a dead server is not hammered.
RETRY_DELAY_S = 0.2


def ramp(low: int, high: int, duration_s: float) -> UsersAt:
    """Return a schedule: `low` for a sixth of the time, a straight rise to `high`, a plateau."""
    rise_from_s, rise_to_s = duration_s / 6, duration_s * 4 / 5

    def users_at(elapsed_s: float) -> int:
        risen = (elapsed_s - rise_from_s) / (rise_to_s - rise_from_s)
        return round(low + (high - low) * min(1.0, max(0.0, risen)))

    return users_at


class Load:
    """A changeable number of users against one server; every request leaves a record."""

    def __init__(self, url: str, workload: Workload, seed: int = 0) -> None:
        self.records: list[ClientRecord] = []
        self.users = 0
        self._endpoint = f"{url}/v1/chat/completions"
        self._workload = workload
        self._seed = seed
        self._asked = 0
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._client: aiohttp.ClientSession

    async def __aenter__(self) -> Self:
        """Open the client."""
        self._client = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            timeout=aiohttp.ClientTimeout(total=None),
            headers={"Content-Type": "application/json"},
        )
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Cut what is still in flight and close the client."""
        await self.cut()
        await self._client.close()

    @property
    def in_flight(self) -> int:
        """Users who have not left; each has a request under way."""
        return sum(not task.done() for task in self._tasks.values())

    def resize(self, users: int) -> None:
        """Let users join at once, or leave when their present request has been answered."""
        self.users = users
        for number in range(users):
            if number not in self._tasks or self._tasks[number].done():
                self._tasks[number] = asyncio.create_task(self._use(number), name=f"user-{number}")

    async def follow(self, users_at: UsersAt) -> None:
        """Keep the number of users on schedule until cancelled."""
        begin_s = time.monotonic()
        while True:
            self.resize(users_at(time.monotonic() - begin_s))
            await asyncio.sleep(RESIZE_INTERVAL_S)

    async def drain(self) -> None:
        """Let every user leave, and wait for the last answer."""
        self.resize(0)
        if self._tasks:
            await asyncio.wait(self._tasks.values())

    async def cut(self) -> None:
        """Disconnect whoever still waits for an answer; an unexpected exception surfaces here."""
        self.resize(0)
        for task in self._tasks.values():
            task.cancel()
        outcomes = await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        self._tasks.clear()
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                raise outcome

    async def _use(self, number: int) -> None:
        """Be one user until the schedule says that this one has left."""
        choices = choices_of(self._seed, number)
        while number < self.users:
            ask = self._workload.ask(choices, self._asked)
            self._asked += 1
            record = await self._request(self._body(ask))
            if not record.ok:
                await asyncio.sleep(RETRY_DELAY_S)

    def _body(self, ask: Ask) -> bytes:
        body: dict[str, object] = {
            "model": self._workload.model,
            "messages": [{"role": "user", "content": "word " * ask.prompt_tokens}],
            "max_tokens": ask.output_tokens,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if ask.urgent:
            body["priority"] = -1
        return msgspec.json.encode(body)

    async def _request(self, body: bytes) -> ClientRecord:
        """Send one request, read its answer, and keep the record."""
        status, error = 0, ""
        reader = AnswerReader(start_ns=time.monotonic_ns())
        try:
            async with self._client.post(self._endpoint, data=body) as response:
                status = response.status
                async for chunk in response.content.iter_any():
                    reader.feed(chunk, time.monotonic_ns())
        except aiohttp.ClientError as failure:
            error = type(failure).__name__
        except asyncio.CancelledError:
            error = CUT
            raise
        finally:
            record = reader.finish(status, error)
            self.records.append(record)
        return record
