"""The workers of a running proxy, as the operating system shows them."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from tests.integration.harness import scrape
from tests.waiting import eventually_async

if TYPE_CHECKING:
    from tests.integration.fake_upstream import Peer
    from tests.integration.process import ProxyProcess
    from tests.samples import Samples

_REMOTE_PORT = 2  # columns of /proc/net/tcp
_INODE = 9


def find_workers(proxy: ProxyProcess) -> list[int]:
    """Return the processes that take requests: what the proxy's only child has forked."""
    return [worker for child in _children(proxy.process.pid) for worker in _children(child)]


def find_worker(proxy: ProxyProcess, client: Peer) -> int:
    """Return the process that has taken a client's connection; 0 when none has yet."""
    port = client.transport.get_extra_info("sockname")[1]
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if int(fields[_REMOTE_PORT].partition(":")[2], 16) == port:
            socket = f"socket:[{fields[_INODE]}]"
            for worker in find_workers(proxy):
                if socket in _open_files(worker):
                    return worker
    return 0


async def connect_to_each(proxy: ProxyProcess, workers: int = 2) -> dict[int, Peer]:
    """Open connections until each worker has one, and return that by worker."""
    found: dict[int, Peer] = {}
    while len(found) < workers:
        client = await proxy.connect()
        await _taken(proxy, client)
        if found.setdefault(find_worker(proxy, client), client) is not client:
            client.close()
    return found


async def samples_when(proxy: ProxyProcess, name: str, value: float, **labels: str) -> Samples:
    """Return the metrics when one of them has this value."""
    found: list[Samples] = []

    async def holds() -> bool:
        found[:] = [await scrape(proxy.admin_port)]
        return found[0].total(name, **labels) == value

    try:
        await eventually_async(holds, f"{name} is {value}")
    except AssertionError:
        raise AssertionError(f"{name} is {found[0].total(name, **labels)}, not {value}") from None
    return found[0]


async def _taken(proxy: ProxyProcess, client: Peer) -> None:
    async def holds() -> bool:
        return bool(find_worker(proxy, client))

    await eventually_async(holds, "a worker takes the connection")


def _children(process: int) -> list[int]:
    with suppress(OSError):
        return [
            int(pid) for pid in Path(f"/proc/{process}/task/{process}/children").read_text().split()
        ]
    return []


def _open_files(process: int) -> set[str]:
    found = set()
    with suppress(OSError):
        for path in Path(f"/proc/{process}/fd").iterdir():
            with suppress(OSError):
                found.add(str(path.readlink()))
    return found
