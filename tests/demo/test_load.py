"""Users come, ask, are measured, and leave."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from goodput_proxy.demo.engine import Profile
from goodput_proxy.demo.load import RETRY_DELAY_S, Load, ramp
from goodput_proxy.demo.records import CUT
from goodput_proxy.demo.server import SimulatedServer
from goodput_proxy.demo.workload import Rare, Workload

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

WORKLOAD = Workload("m", prompt_tokens=(1, 20), output_tokens=(1, 6))


@asynccontextmanager
async def simulated(profile: Profile) -> AsyncIterator[tuple[SimulatedServer, str]]:
    server = SimulatedServer(profile)
    try:
        yield server, await server.start()
    finally:
        await server.stop()


@asynccontextmanager
async def answering(answer: Callable[[web.Request], Awaitable[web.Response]]) -> AsyncIterator[str]:
    runner = web.ServerRunner(web.Server(answer))  # type: ignore[arg-type]
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


async def until(load: Load, records: int) -> None:
    async with asyncio.timeout(5):
        while len(load.records) < records:  # noqa: ASYNC110 -- a list has no event to wait for
            await asyncio.sleep(0.002)


@pytest.mark.parametrize(
    ("elapsed_s", "users"), [(0, 4), (10, 4), (29, 50), (48, 96), (60, 96), (600, 96)]
)
def test_ramp(elapsed_s: float, users: int) -> None:
    """A sixth of the time for the few, a straight rise, and a plateau to the end and beyond."""
    assert ramp(4, 96, 60)(elapsed_s) == users


async def test_every_request_leaves_a_record() -> None:
    """What users saw is what the server did."""
    async with simulated(Profile(time_scale=0.01)) as (server, url):
        async with Load(url, WORKLOAD) as load:
            load.resize(5)
            await until(load, 20)
            assert load.users == load.in_flight == 5
            await load.drain()
            assert load.in_flight == 0
        assert server.finished == len(load.records)
    assert all(record.ok and record.status == 200 for record in load.records)
    assert all(1 <= record.output_tokens <= 6 for record in load.records)


async def test_users_leave_after_their_answer() -> None:
    """Fewer users: the others finish what they asked, and nobody new begins."""
    async with simulated(Profile(time_scale=0.01)) as (server, url):
        async with Load(url, WORKLOAD) as load:
            load.resize(8)
            await until(load, 8)
            load.resize(2)
            await until(load, len(load.records) + 20)
            assert load.in_flight == 2
        assert server.aborted <= 2


async def test_cut_disconnects() -> None:
    """Whoever is cut leaves a record that says so, and frees the server."""
    async with simulated(Profile(time_scale=10_000)) as (server, url):
        async with Load(url, WORKLOAD) as load:
            load.resize(3)
            async with asyncio.timeout(5):
                while server.started < 3:  # noqa: ASYNC110
                    await asyncio.sleep(0.002)
        assert [(record.ok, record.error) for record in load.records] == [(False, CUT)] * 3


async def test_follow_keeps_to_the_schedule() -> None:
    """The number of users is what the schedule says for the time that has passed."""
    asked: list[float] = []

    def users_at(elapsed_s: float) -> int:
        asked.append(elapsed_s)
        return len(asked)

    async with simulated(Profile(time_scale=0.01)) as (_, url), Load(url, WORKLOAD) as load:
        following = asyncio.create_task(load.follow(users_at))
        await until(load, 10)
        following.cancel()
        assert load.users == len(asked) >= 1
    assert asked[0] < 0.05


async def test_seeded_users_ask_the_same() -> None:
    """The requests of a user depend on the seed and the user's number alone."""

    async def bodies(seed: int) -> list[Any]:
        got: list[Any] = []

        async def answer(request: web.Request) -> web.Response:
            got.append(await request.json())
            return web.Response(body=b'data: {"content":"x"}\n\ndata: [DONE]\n\n')

        async with answering(answer) as url, Load(url, WORKLOAD, seed) as load:
            load.resize(1)
            await until(load, 10)
        return got[:10]

    first, again, other = await bodies(1), await bodies(1), await bodies(2)
    assert first == again != other
    assert first[0]["stream"] is True
    assert first[0]["stream_options"] == {"include_usage": True}
    assert all(1 <= body["max_tokens"] <= 6 for body in first)


async def test_the_rare_request_says_that_it_is_urgent() -> None:
    """One in so many over all users, and no other has a priority."""
    got: list[Any] = []

    async def answer(request: web.Request) -> web.Response:
        got.append(await request.json())
        return web.Response(body=b'data: {"content":"x"}\n\ndata: [DONE]\n\n')

    workload = Workload("m", (1, 5), (3, 6), Rare(4, (9, 9), (1, 1), urgent=True))
    async with answering(answer) as url, Load(url, workload) as load:
        load.resize(3)
        await until(load, 12)
    assert [body["max_tokens"] for body in got[:12]].count(1) == 3
    assert {body.get("priority") for body in got if body["max_tokens"] == 1} == {-1}
    assert {body.get("priority") for body in got if body["max_tokens"] > 1} == {None}


async def test_failures_are_recorded_and_not_hammered(monkeypatch: pytest.MonkeyPatch) -> None:
    """A refused request is a record like any other, and its user waits before the next."""
    waits: list[float] = []
    sleep = asyncio.sleep

    async def note(delay_s: float) -> None:
        waits.append(delay_s)
        await sleep(0)

    async def refuse(_: web.Request) -> web.Response:
        return web.Response(status=503)

    async with answering(refuse) as url, Load(url, WORKLOAD) as load:
        monkeypatch.setattr(asyncio, "sleep", note)
        load.resize(1)
        async with asyncio.timeout(5):
            while len(load.records) < 3:
                await sleep(0.002)
        monkeypatch.undo()
    assert {(record.ok, record.status) for record in load.records[:3]} == {(False, 503)}
    assert waits[:2] == [RETRY_DELAY_S] * 2


async def test_dead_server_is_an_error_without_status() -> None:
    """Nobody listening is noted by the name of the failure."""
    async with answering(lambda _: pytest.fail("unreachable")) as url:
        pass
    async with Load(url, WORKLOAD) as load:
        load.resize(1)
        await until(load, 1)
    assert (load.records[0].status, load.records[0].error) == (0, "ClientConnectorError")


async def test_defects_of_the_load_surface(monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception that nobody foresaw does not vanish with its task."""

    def explode(*_: object) -> bytes:
        raise LookupError("defect")

    monkeypatch.setattr(Load, "_body", explode)
    async with Load("http://127.0.0.1:1", WORKLOAD) as load:
        load.resize(1)
        await asyncio.sleep(0)
        with pytest.raises(LookupError, match="defect"):
            await load.cut()
