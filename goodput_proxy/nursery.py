"""Where workers are born: a small process of one thread that has everything loaded and forks.

A process with threads must not fork, and one that starts from nothing takes most of a second to
load; from here a worker is there in milliseconds, and shares the memory of what was loaded. Python
has such a server (`multiprocessing`'s `forkserver`), which needs a directory to write to: the
proxy's file system is read-only.

  in   the number of a worker, with its end of a channel and the shared memory of the headcount
  out  `Forked` when it exists, `Ended` when it does no longer

Signals that a terminal or an init system sends to all processes of a group are the supervisor's
to answer. When that has gone, its end of the socket closes, and this process ends.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import socket
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from .headcount import Headcount
from .worker import run_worker

if TYPE_CHECKING:
    from types import FrameType

MAX_BYTES = 256
_DESCRIPTORS = 2


class Order(msgspec.Struct):
    """What is to be made: one of so many workers."""

    worker: int
    workers: int


class Forked(msgspec.Struct, tag=True):
    """A worker exists."""

    worker: int
    pid: int


class Ended(msgspec.Struct, tag=True):
    """A worker has ended; a negative code is the signal that killed it."""

    pid: int
    code: int


@dataclass(frozen=True)
class Task:
    """What a process that has just been forked is to do."""

    order: Order
    end: socket.socket
    headcount: int


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Order).decode


def tend(supervisor: socket.socket) -> Task | None:
    """Fork workers as they are ordered; return their task in them, None when there are no more."""

    def bury(number: int, frame: FrameType | None) -> None:
        """Take note of the children that have ended; calls that this interrupts go on."""
        del number, frame
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            with contextlib.suppress(ConnectionError):  # nobody is there to know
                supervisor.send(_encode(Ended(pid, os.waitstatus_to_exitcode(status))))

    signal.signal(signal.SIGCHLD, bury)
    while True:
        message, descriptors, _, _ = socket.recv_fds(supervisor, MAX_BYTES, _DESCRIPTORS)
        if not message:
            return None
        order = _decode(message)
        channel, headcount = descriptors
        # That a child is born is told before that it has ended.
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
        pid = os.fork()
        if not pid:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])
            supervisor.close()
            return Task(order, socket.socket(fileno=channel), headcount)
        supervisor.send(_encode(Forked(order.worker, pid)))
        os.close(channel)
        os.close(headcount)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])


def main(descriptor: int) -> None:
    """Fork workers, and be one in each of them."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    gc.collect()
    gc.freeze()  # the collector would write to memory that is shared with the workers
    task = tend(socket.socket(fileno=descriptor))
    if task is None:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        with contextlib.suppress(ChildProcessError):
            while True:  # or whoever becomes their parent would have to
                os.wait()
    else:
        order = task.order
        run_worker(task.end, order.worker, Headcount(task.headcount, order.workers))


if __name__ == "__main__":
    main(int(sys.argv[1]))
