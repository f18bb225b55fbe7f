"""A proxy that is up: started on its core, known to answer, ended by its id.

Also the client process, which asks it whether it answers.
"""

from __future__ import annotations

import json
import select
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench import process
from bench.client import LoadResult
from bench.load import Load
from bench.peers import Peer, Site

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

READY_TIMEOUT_S = 15.0  # of our own processes, which start in one
_PROBE = Load(connections=1, requests=1, tokens=0, interval_us=0)


class BenchError(Exception):
    """The bench cannot go on; the message says why."""


@dataclass(frozen=True, slots=True)
class Cores:
    """The core of the proxy under test, and that of upstream and client."""

    proxy: int
    harness: int


@dataclass(frozen=True, slots=True)
class Running:
    """A proxy that answers."""

    peer: Peer
    port: int
    admin_port: int
    pid: int | None
    """None: there is no proxy, the client goes straight upstream."""

    def workers(self) -> list[int]:
        """Return the processes whose CPU and memory count."""
        return [] if self.pid is None else self.peer.workers(self.pid)

    def rss_mb(self) -> float:
        """Return the memory that they have now."""
        return sum(map(process.rss_bytes, self.workers())) / 1e6


class Client:
    """The client process: takes a load, gives its result."""

    def __init__(self, core: int, port: int) -> None:
        command = [sys.executable, "-m", "bench.client", str(port)]
        self.process = process.start(command, core)
        self._requests = process.pipe(self.process.stdin)

    def offer(self, load: Load) -> LoadResult:
        """Run `load` to its end."""
        self._requests.write(json.dumps(asdict(load)).encode() + b"\n")
        self._requests.flush()
        answer = json.loads(read_line(self.process, load.ideal_s * 3 + 30))
        if "failed" in answer:
            raise BenchError(answer["failed"])
        return LoadResult(**answer)


@contextmanager
def running(peer: Peer, cores: Cores, upstream_port: int) -> Iterator[Running]:
    """Keep `peer` up inside the block."""
    if peer.command is None:
        yield Running(peer, upstream_port, 0, None)
        return
    with tempfile.TemporaryDirectory(prefix="goodput-bench-") as name:
        site = Site(
            upstream_port=upstream_port,
            listen_port=process.free_port(),
            admin_port=process.free_port(),
            directory=Path(name),
        )
        log_path = site.directory / "output.log"
        with log_path.open("wb") as log:
            proxy = process.start(peer.command(site), cores.proxy, log)
        try:
            _wait_ready(peer, proxy, cores.harness, site.listen_port, log_path)
            yield Running(peer, site.listen_port, site.admin_port, proxy.pid)
        finally:
            process.stop(proxy)


def _wait_ready(
    peer: Peer, proxy: subprocess.Popen[bytes], core: int, port: int, log_path: Path
) -> None:
    """Wait until a small request comes back through the proxy."""
    client = Client(core, port)
    deadline_s = time.monotonic() + peer.ready_s
    try:
        while True:
            try:
                client.offer(_PROBE)
            except BenchError as error:
                gone = proxy.poll() is not None
                if not gone and time.monotonic() < deadline_s:
                    time.sleep(0.1)
                    continue
                output = log_path.read_text(errors="replace")[-2000:]
                what = "ended" if gone else f"is not ready: {error}"
                msg = f"{peer.name} {what}\n{output}"
                raise BenchError(msg) from None
            return
    finally:
        process.stop(client.process)


def read_line(source: subprocess.Popen[bytes], timeout_s: float) -> bytes:
    """Read one line that the process writes at once, or say that it did not."""
    output = process.pipe(source.stdout)
    readable, _, _ = select.select([output], [], [], timeout_s)
    line = output.readline() if readable else b""
    if not line:
        msg = f"no answer from {source.args!r} within {timeout_s:.0f} s"
        raise BenchError(msg)
    return line
