"""The load: raw asyncio connections that note when each token arrives.

Latency of a record is receive time minus the stamp that the sender put into it: one
monotonic clock, since both run on one host. A record is found by its fixed-width stamp,
nothing is parsed. Anything but complete 200 answers fails the whole run: a figure over
broken streams is worth nothing.

Run as `python -m bench.client PORT`: each line of standard input is a load as JSON,
each line of standard output its result. It ends when its standard input does.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
from array import array
from dataclasses import asdict, dataclass
from time import monotonic_ns
from typing import cast

import uvloop

from bench.load import STAMP_DIGITS, STAMP_PREFIX, Load, request_bytes

_STATUS_OK = b"HTTP/1.1 200"
LAST_CHUNK = b"0\r\n\r\n"


@dataclass(frozen=True, slots=True)
class LoadResult:
    """What one run of a load showed; times in nanoseconds."""

    samples: int
    """Latency samples: one per token, or one round trip per small request."""
    wall_ns: int
    p50_ns: int
    p99_ns: int
    p999_ns: int
    max_ns: int


class LoadError(Exception):
    """An answer was missing, cut short or not a 200."""


class _Run:
    """State shared by the connections of one run."""

    def __init__(self, load: Load, loop: asyncio.AbstractEventLoop) -> None:
        self.load = load
        self.loop = loop
        self.request = request_bytes(load)
        self.latencies_ns = array("q")
        self.open_connections = load.connections
        self.finished: asyncio.Future[None] = loop.create_future()

    def connection_finished(self) -> None:
        self.open_connections -= 1
        if not self.open_connections and not self.finished.done():
            self.finished.set_result(None)

    def fail(self, why: str) -> None:
        if not self.finished.done():
            self.finished.set_exception(LoadError(why))


class _Connection(asyncio.Protocol):
    """One keep-alive connection: its requests in turn; subclasses read the answers."""

    def __init__(self, run: _Run) -> None:
        self._run = run
        self._add = run.latencies_ns.append
        self._requests_left = run.load.requests
        self._in_head = True
        self._carry = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self.send_request()

    def send_request(self) -> None:
        """Send the next request of this connection."""
        if self._transport is not None:
            self._in_head = True
            self._requests_left -= 1
            self._transport.write(self._run.request)

    def answer_finished(self) -> None:
        """Go on after a complete answer."""
        if self._requests_left:
            self.send_request()
        else:
            self.close()

    def close(self) -> None:
        """End the connection; the run ends with the last one."""
        if self._transport is not None:
            self._transport.close()
            self._transport = None
            self._run.connection_finished()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._transport is not None:
            self._transport = None
            self._run.fail(f"connection lost in mid-answer: {exc!r}")

    def check_status(self, data: bytes) -> None:
        """Fail the run unless `data` starts an answer with status 200."""
        self._in_head = False
        if not data.startswith(_STATUS_OK):
            self._run.fail(f"unexpected answer: {data[:200]!r}")


class StreamConnection(_Connection):
    """Reads SSE streams of a known number of tokens."""

    def send_request(self) -> None:
        """Send the next request and expect all of its tokens."""
        self._tokens_left = self._run.load.tokens
        super().send_request()

    def data_received(self, data: bytes) -> None:
        """Note the latency of every record that this read completed."""
        now_ns = monotonic_ns()
        if self._carry:
            data = self._carry + data
            self._carry = b""
        if not data.endswith(b"\r\n"):  # cut inside a chunk: wait for the rest
            self._carry = data
            return
        if self._in_head:
            self.check_status(data)
        at = data.find(STAMP_PREFIX)
        while at >= 0:
            at += len(STAMP_PREFIX)
            self._add(now_ns - int(data[at : at + STAMP_DIGITS]))
            self._tokens_left -= 1
            at = data.find(STAMP_PREFIX, at + STAMP_DIGITS)
        if self._tokens_left <= 0 and (data.endswith(b"\r\n" + LAST_CHUNK) or data == LAST_CHUNK):
            if self._tokens_left:
                self._run.fail(f"{-self._tokens_left} tokens too many")
            self.answer_finished()


class SmallConnection(_Connection):
    """Sends small requests on an absolute schedule, measures their round trips."""

    def __init__(self, run: _Run) -> None:
        super().__init__(run)
        self._step_s = run.load.interval_us / 1e6
        self._due_s = 0.0
        self._sent_ns = 0

    def send_request(self) -> None:
        """Send the next request and note when."""
        if not self._due_s:
            self._due_s = self._run.loop.time()
        self._sent_ns = monotonic_ns()
        super().send_request()

    def data_received(self, data: bytes) -> None:
        """Note the round trip once the answer is complete."""
        now_ns = monotonic_ns()
        data = self._carry + data
        if not _small_answer_complete(data):
            self._carry = data
            return
        self._carry = b""
        self.check_status(data)
        self._add(now_ns - self._sent_ns)
        self.answer_finished()

    def answer_finished(self) -> None:
        """Wait until the next request is due."""
        if not self._requests_left:
            self.close()
            return
        self._due_s += self._step_s
        self._run.loop.call_at(self._due_s, self.send_request)


def _small_answer_complete(message: bytes) -> bool:
    head, end, body = message.partition(b"\r\n\r\n")
    if not end:
        return False
    fields = head.lower()
    at = fields.find(b"\r\ncontent-length:")
    if at < 0:
        return body.endswith(LAST_CHUNK)
    return len(body) >= int(fields[at + 17 :].split(b"\r\n", 1)[0])


async def run_load(load: Load, port: int) -> LoadResult:
    """Offer `load` to 127.0.0.1:`port` and return what was seen."""
    loop = asyncio.get_running_loop()
    run = _Run(load, loop)
    loop.set_exception_handler(lambda _loop, context: run.fail(str(context)))
    protocol = StreamConnection if load.streamed else SmallConnection
    start_s = loop.time()
    start_ns = monotonic_ns()

    async def open_connection(index: int) -> None:
        await asyncio.sleep(start_s + index / 1000 - loop.time())
        try:
            await loop.create_connection(lambda: protocol(run), "127.0.0.1", port)
        except OSError as error:
            run.fail(f"cannot connect: {error}")

    openings = [loop.create_task(open_connection(i)) for i in range(load.connections)]
    try:
        async with asyncio.timeout(load.ideal_s * 3 + 15):
            await run.finished
    except TimeoutError:
        msg = "the answers did not finish in three times the time they should take"
        raise LoadError(msg) from None
    finally:
        for task in openings:
            task.cancel()
    wall_ns = monotonic_ns() - start_ns
    expected = load.total_tokens if load.streamed else load.total_requests
    if len(run.latencies_ns) != expected:
        msg = f"{len(run.latencies_ns)} samples instead of {expected}"
        raise LoadError(msg)
    ordered_ns = sorted(run.latencies_ns)
    return LoadResult(
        samples=len(ordered_ns),
        wall_ns=wall_ns,
        p50_ns=percentile(ordered_ns, 0.5),
        p99_ns=percentile(ordered_ns, 0.99),
        p999_ns=percentile(ordered_ns, 0.999),
        max_ns=ordered_ns[-1],
    )


def percentile(ordered: list[int], share: float) -> int:
    """Return the smallest value that at least `share` of `ordered` do not exceed."""
    rank = -int(-share * len(ordered) // 1)  # ceiling
    return ordered[min(max(rank, 1), len(ordered)) - 1]


def main() -> None:
    """Answer each load on standard input with its result on standard output."""
    port = int(sys.argv[1])
    gc.freeze()
    gc.disable()  # a collection would show as latency
    for line in sys.stdin:
        load = Load(**json.loads(line))
        try:
            answer: dict[str, object] = asdict(uvloop.run(run_load(load, port)))
        except LoadError as error:
            answer = {"failed": str(error)}
        print(json.dumps(answer), flush=True)
        gc.collect()


if __name__ == "__main__":
    main()
