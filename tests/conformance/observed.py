"""One exchange through a proxy, seen from both sides and reduced to what can be compared.

Where chunks begin, and headers that describe one connection only, may differ between proxies that
are all right; so they are taken out here. Everything else is kept.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.integration.fake_upstream import (
    HEAD_END,
    Ending,
    FakeUpstream,
    connect,
    parse_answer,
    parse_trailed_chunks,
    split_headers,
)
from tests.streams import cut
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

    from tests.integration.fake_upstream import Peer

LAST = b"GET /last HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
FINE = b"HTTP/1.1 200 OK\r\nX-Up: 1\r\nContent-Length: 4\r\n\r\nfine"
# A proxy that waits for something that does not come is not waited for longer than this.
SILENCE_S = 2.0
# What upstreams say for a date and for their name.
STAMPS = (b"d", b"s")
_STAMPED = frozenset((b"date", b"server"))
_CONNECTION = frozenset((b"connection", b"keep-alive"))
_FRAMING = frozenset((b"content-length", b"transfer-encoding"))
_SUMMARY = frozenset(("answer", "next"))
_SPELLED = frozenset(("up case of names", "down case of names"))

Aspects = dict[str, list[object]]


@dataclass(frozen=True)
class Case:
    """What a client sends first, and how the upstream answers that."""

    request: bytes
    response: bytes = FINE
    ending: Ending | None = None  # how the upstream ends the connection behind the response
    positions: Sequence[int] = ()  # where the response is cut into writes

    @property
    def to_head(self) -> bool:
        """Whether the request's method is HEAD."""
        return self.request.startswith(b"HEAD ")

    @property
    def closes(self) -> bool:
        """Whether nothing may follow the request."""
        return b"HTTP/1.0\r\n" in self.request and b"keep-alive" not in self.request


class AnsweringUpstream:
    """An upstream that answers the first request as the case says, and every other one well."""

    def __init__(self) -> None:
        self.fake = FakeUpstream()
        self._case: Case | None = None
        self._client: Peer | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.seen: list[tuple[bytes, bytes]] = []

    @property
    def port(self) -> int:
        """Where it listens."""
        return self.fake.port

    async def start(self) -> None:
        """Listen."""
        await self.fake.start()
        self._run(self._accept())

    def expect(self, case: Case, client: Peer) -> None:
        """Prepare for the next exchange."""
        self._case, self._client, self.seen = case, client, []

    async def stop(self) -> None:
        """Break off every connection."""
        for task in self._tasks:
            task.cancel()
        await self.fake.stop()

    async def _accept(self) -> None:
        while True:
            self._run(self._serve(await self.fake.next()))

    async def _serve(self, peer: Peer) -> None:
        while True:
            try:
                request = await peer.request()
            except AssertionError:  # it has ended, or sent what is no request
                if peer.received:
                    what = b"malformed" if peer.ending is None else b"cut"
                    self.seen.append((what, bytes(peer.received)))
                return
            self.seen.append(request)
            case, self._case = self._case, None
            for piece in cut(case.response, case.positions) if case else (FINE,):
                peer.send(piece)
                await peer.flush()
            if case and case.ending is Ending.FIN:
                peer.close()
            elif case and case.ending is Ending.RST:
                await eventually(self._has_arrived)  # a reset throws away what has not
                peer.reset()

    def _has_arrived(self) -> bool:
        return self._client is None or self._client.size > 0

    def _run(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def play(port: int, upstream: AnsweringUpstream, case: Case) -> Aspects:
    """Send a request through a proxy, and one more behind it; return what both sides saw."""
    client = await connect(port)
    upstream.expect(case, client)
    client.send(case.request, b"" if case.closes else LAST)
    try:
        async with asyncio.timeout(SILENCE_S):
            await client.ended()
    except TimeoutError:
        pass
    aspects: Aspects = {}
    answers = _read_answers(aspects, client.take(), client.ending, to_head=case.to_head)
    client.close()
    aspects["answer"] = [*answers[:1], "forwarded" if upstream.seen else "refused"]
    aspects["next"] = [*answers[1:], len(upstream.seen)]
    for head, body in upstream.seen:
        _read_request(aspects, head, body)
    return aspects


def _read_answers(
    aspects: Aspects, data: bytes, ending: Ending | None, *, to_head: bool
) -> list[object]:
    answers: list[object] = []
    while data:
        if not data.startswith(b"HTTP/1.1 ") or HEAD_END not in data:
            return [*answers, "nonsense"]
        if data[9:10] == b"1" and data[9:12] != b"101":
            head, _, data = data.partition(HEAD_END)
            line, *lines = head.split(b"\r\n")
            _add(aspects, "informational", (line, _end_to_end(split_headers(lines))))
            continue
        try:
            answer = parse_answer(data, ended=ending or Ending.RST, to_head=to_head)
        except AssertionError:  # no client would understand it
            answer = None
        if answer is None:
            return [*answers, "nonsense"]
        to_head = False
        data = data[answer.size :]
        answers.append(f"{answer.status}{'' if answer.complete else ' cut'}")
        passed = answer.header(b"X-Up") is not None  # what a proxy says itself may be anything
        _note(aspects, "down", answer.headers if passed else [], answer.body if passed else b"")
        _add(aspects, "down reason", answer.reason if passed else b"")
        aspects.setdefault("down trailers", []).extend(answer.trailers)
    if ending is not Ending.FIN:
        answers.append("silence" if ending is None else ending.value)
    return answers


def _read_request(aspects: Aspects, head: bytes, body: bytes) -> None:
    line, *lines = head.removesuffix(HEAD_END).split(b"\r\n")
    headers = split_headers(lines)
    if any(name.lower() == b"transfer-encoding" for name, _ in headers):
        whole, trailers = parse_trailed_chunks(body)
        body = b"cut" if whole is None else whole
        aspects.setdefault("up trailers", []).extend(trailers)
    _add(aspects, "up line", line)
    _note(aspects, "up", headers, body)


def _note(aspects: Aspects, side: str, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    kept = [(name, value) for name, value in headers if name.lower() not in _CONNECTION]
    framing = {name.lower(): value for name, value in kept if name.lower() in _FRAMING}
    _add(aspects, f"{side} framing", framing)
    _add(aspects, f"{side} headers", _end_to_end(headers))
    _add(aspects, f"{side} case of names", sorted(name for name, _ in kept))
    _add(aspects, f"{side} body", body)
    stamps = [(name.lower(), value in STAMPS) for name, value in kept if name.lower() in _STAMPED]
    _add(aspects, f"{side} date and server", sorted(stamps))


def _end_to_end(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    apart = _CONNECTION | _FRAMING | _STAMPED
    return [(name.lower(), value) for name, value in headers if name.lower() not in apart]


def _add(aspects: Aspects, aspect: str, value: object) -> None:
    aspects.setdefault(aspect, []).append(value)


def compare(ours: Aspects, theirs: Aspects) -> dict[str, tuple[object, object]]:
    """Return the aspects in which two proxies differ, with what was seen.

    Where they answer differently, the rest follows from that and is not looked at; where the
    connection goes on with one of them only, what it goes on with is not.
    """
    different: dict[str, tuple[object, object]] = {}
    for aspect in ("answer", "next", *sorted((ours.keys() | theirs.keys()) - _SUMMARY)):
        one, other = ours.get(aspect, []), theirs.get(aspect, [])
        if "next" in different:
            one, other = one[:1], other[:1]
        if aspect in _SPELLED and repr(one).lower() != repr(other).lower():
            continue  # other headers, which is another aspect
        if one != other:
            different[aspect] = one, other
        if "answer" in different:
            break
    return different
