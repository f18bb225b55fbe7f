"""Processes of the bench: start pinned, read what they used, end by their id.

CPU time is read from the kernel's per-process CPU clock (`clock_gettime`), not from
`/proc/PID/stat`: both report user + system time of all threads from the same counter,
but stat rounds it down to 10 ms, which is 5 % of what a cheap proxy spends on a short
run. `/proc/PID/schedstat` has nanoseconds too, of the main thread only. The split into
user and system is sampled by the kernel's tick; only stat has it, so it is reported as
a rough share and never compared.

Linux only: it needs /proc and CPU affinity.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_CPUCLOCK_SCHED = 2  # the kernel's number for "time on a CPU" of a whole process
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_STOP_TIMEOUT_S = 5.0


def cpu_ns(pid: int) -> int:
    """Return the user + system time that all threads of `pid` have used."""
    return time.clock_gettime_ns((~pid << 3) | _CPUCLOCK_SCHED)


def user_system_ticks(pid: int) -> tuple[int, int]:
    """Return utime and stime of `pid` in kernel ticks of 10 ms."""
    fields = _stat_fields(pid)
    return int(fields[11]), int(fields[12])


def rss_bytes(pid: int) -> int:
    """Return the resident memory of `pid` now."""
    return _status_kib(pid, "VmRSS:") * 1024


def peak_rss_bytes(pid: int) -> int:
    """Return the largest resident memory that `pid` has had."""
    return _status_kib(pid, "VmHWM:") * 1024


def children(pid: int) -> list[int]:
    """Return the process ids whose parent is `pid`."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if int(_stat_fields(int(entry.name))[1]) == pid:
                    found.append(int(entry.name))
            except (FileNotFoundError, ProcessLookupError):
                continue
    return sorted(found)


def core_busy_s(core: int) -> float:
    """Return how long `core` was not idle since boot, whoever used it.

    Taken as uptime minus idle time: with a tickless kernel idle is exact, where the
    busy columns are sampled.
    """
    for line in Path("/proc/stat").read_text().splitlines():
        name, *ticks = line.split()
        if name == f"cpu{core}":
            idle_s = (int(ticks[3]) + int(ticks[4])) * _TICK_S
            return time.clock_gettime(time.CLOCK_BOOTTIME) - idle_s
    msg = f"no core {core} in /proc/stat"
    raise LookupError(msg)


def _stat_fields(pid: int) -> list[str]:
    # The name in parentheses may hold spaces; index 0 is the state.
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _status_kib(pid: int, key: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(key):
            return int(line.split()[1])
    return 0


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def pinned(core: int) -> Iterator[None]:
    """Give processes started inside the block `core` as their only one."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def start(
    command: Sequence[str], core: int, log: IO[bytes] | None = None
) -> subprocess.Popen[bytes]:
    """Start `command` on `core`: its output goes to `log`, else it is a pipe."""
    with pinned(core):
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=log if log is not None else subprocess.PIPE,
            stderr=log,
        )


def pipe(end: IO[bytes] | None) -> IO[bytes]:
    """Return a standard stream that `start` is known to have opened."""
    if end is None:
        raise ValueError("this stream of the process is no pipe")
    return end


def stop(process: subprocess.Popen[bytes]) -> None:
    """End `process` by its id: politely, then for good."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(_STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for end in (process.stdin, process.stdout):
        if end is not None:
            end.close()
