"""The supervisor's hand on the process that forks workers (`nursery`)."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
import sys

import msgspec

from .nursery import MAX_BYTES, Ended, Forked, Order

_decode = msgspec.json.Decoder(Forked | Ended).decode
_MODULE = "goodput_proxy.nursery"


class Nurse:
    """Has workers forked, and learns how they end.

    Args:
        workers: how many there are at a time.
        headcount: descriptor of the memory that they share.
    """

    def __init__(self, workers: int, headcount: int) -> None:
        self._workers = workers
        self._headcount = headcount
        self._starting = asyncio.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._forked: dict[int, asyncio.Future[int]] = {}  # by worker
        self._ended: dict[int, asyncio.Future[int | None]] = {}  # by process

    async def fork(self, worker: int, end: socket.socket) -> int:
        """Make a worker with this end of a channel, and return its process.

        Raises:
            OSError: when there is no process to fork, as that has just died.
        """
        async with self._starting:
            if self._socket is None:
                await self._bury()
                self._start()
        if self._socket is None:
            raise BrokenPipeError
        forked: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._forked[worker] = forked
        order = msgspec.json.encode(Order(worker, self._workers))
        socket.send_fds(self._socket, [order], [end.fileno(), self._headcount])
        return await forked

    async def code(self, pid: int, patience_s: float) -> int | None:
        """Wait for the end of a process; return how it ended, None when that is not known."""
        ended = self._ended.get(pid)
        if ended is None:
            return None
        try:
            async with asyncio.timeout(patience_s):
                return await ended
        except TimeoutError:
            return None
        finally:
            self._ended.pop(pid, None)

    async def close(self) -> None:
        """Let the process go; workers live on."""
        self._hang_up()
        if self._process is not None:
            await asyncio.to_thread(self._process.wait)

    async def _bury(self) -> None:
        """End the process that has hung up, if there was one."""
        if self._process is not None:
            self._process.kill()
            await asyncio.to_thread(self._process.wait)

    def _start(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 -- our own module
                [sys.executable, "-m", _MODULE, str(theirs.fileno())], pass_fds=[theirs.fileno()]
            )
        ours.settimeout(0)
        self._socket = ours
        asyncio.get_running_loop().add_reader(ours.fileno(), self._read)

    def _read(self) -> None:
        assert self._socket is not None  # noqa: S101 -- it is read only while it is open
        with contextlib.suppress(BlockingIOError):
            message = b""
            with contextlib.suppress(ConnectionError):
                message = self._socket.recv(MAX_BYTES)
            if not message:
                self._hang_up()
                return
            loop = asyncio.get_running_loop()
            match _decode(message):
                case Forked(worker, pid):
                    self._ended[pid] = loop.create_future()
                    if not self._forked[worker].done():
                        self._forked[worker].set_result(pid)
                case Ended(pid, code):
                    ended = self._ended.get(pid)
                    if ended is not None and not ended.done():
                        ended.set_result(code)

    def _hang_up(self) -> None:
        """Forget the process; whoever waits for it learns that it is gone."""
        if self._socket is None:
            return
        asyncio.get_running_loop().remove_reader(self._socket.fileno())
        self._socket.close()
        self._socket = None
        for forked in self._forked.values():
            if not forked.done():
                forked.set_exception(BrokenPipeError("the process that forks workers has died"))
        for ended in self._ended.values():
            if not ended.done():
                ended.set_result(None)
        self._ended.clear()
