"""The checks of waiting, leaving and dying: what happens when somebody does not stay to the end.

Owns: the request that queues behind another, the client that leaves (with a control experiment
directly at the server each time), and the server that is killed. Whether the server goes on
generating is seen from the server's side, never from what the proxy says about it.
"""

from __future__ import annotations

import http.client
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.real import observe, processes, traffic
from tests.real.ground import APIS, CLIENT_OVERHEAD_S, DRAINS_WITHIN_S, chat, words
from tests.real.traffic import CHAT

if TYPE_CHECKING:
    from tests.real.ground import Site

# Long enough for a request that does not wait, on a machine with other things to do.
TTFT_LIMIT_S = 2.0
# Shares of one processor: the server alone takes a whole one, and much less on a busy machine.
BUSY, IDLE = 0.05, 0.1
IDLE_OF_BUSY = 0.25
STOPS_WITHIN_S = 1.0
TRIES = 3
# As long as an endless stream takes on a busy machine.
FORGETS_WITHIN_S = 40.0


def check_queue(site: Site) -> None:
    """Behind another request: the first byte comes at once, the first token only when it is done.

    A meter that takes the head of the answer or the role record for the first token finds such a
    request good. Two more clients do not wait for it: one leaves in time, one too late.
    """
    with site.counting() as moved, traffic.Stream(site.server.url, CHAT, chat()) as blocker:
        blocker.content(5)
        with traffic.Stream(site.proxy.url, CHAT, chat(80)) as queued:
            role_s, _ = queued.record()
            with traffic.Stream(site.proxy.url, CHAT, chat(80)) as early:
                early.record()
                time.sleep(TTFT_LIMIT_S * 0.3)
            site.expect("cancelled", "client", left=True)
            with traffic.Stream(site.proxy.url, CHAT, chat(80)) as late:
                late.record()
                time.sleep(TTFT_LIMIT_S * 1.5)
            site.expect("slow", "ttft", left=True)
            site.expect("slow", "ttft")
            blocker.leave()
            token_s = queued.content(1)
            queued.rest()
        delta = moved()
    verdicts = delta.by("goodput_requests_total", "verdict", "cause")
    ours = delta.total("goodput_time_to_first_token_seconds_sum")
    site.report.check(
        role_s < TTFT_LIMIT_S < ours and 0 <= token_s - ours <= CLIENT_OVERHEAD_S,
        "queued request: TTFT",
        f"role record after {role_s * 1e3:.0f} ms, first token: proxy {ours * 1e3:.1f} ms, "
        f"client {token_s * 1e3:.1f} ms",
    )
    site.report.check(
        verdicts == {("cancelled", "client"): 1, ("slow", "ttft"): 2},
        "queued request: verdicts",
        f"waited, left before and left after the limit: {words(verdicts)}",
    )


@dataclass(frozen=True, slots=True)
class Departure:
    """What the server did when the client of a stream left."""

    busy: float | None
    idle: float | None
    closed_s: float | None
    next_token_s: float

    def stopped(self) -> bool:
        """Say whether the generation ended with the connection."""
        quick = self.next_token_s < STOPS_WITHIN_S
        if self.busy is None or self.idle is None:
            return quick
        idle = self.idle < min(IDLE, IDLE_OF_BUSY * self.busy)
        return quick and self.busy > BUSY and idle and self.closed_s is not None

    def __str__(self) -> str:
        if self.busy is None or self.idle is None:
            return f"next request's first token after {self.next_token_s * 1e3:.0f} ms"
        closed = "never" if self.closed_s is None else f"after {self.closed_s * 1e3:.0f} ms"
        return (
            f"processor {self.busy:.0%} then {self.idle:.0%}, connection closed {closed}, "
            f"next request's first token after {self.next_token_s * 1e3:.0f} ms"
        )


def depart(site: Site, url: str, path: str, body: dict[str, Any]) -> Departure:
    """Leave an endless stream at `url` and look at the server, without the proxy's help."""
    port, pid = site.server.port, site.server.process.pid
    observe.settles(lambda: not observe.connections(port), DRAINS_WITHIN_S)
    # Where requests share a batch, one that the server has forgotten may still be generated.
    observe.settles(lambda: (observe.cpu_share(pid, 0.1) or 0) < IDLE, FORGETS_WITHIN_S)
    with traffic.Stream(url, path, body) as stream:
        stream.content(20)
        busy = observe.cpu_share(pid, 0.5)
        stream.leave()
        closed = observe.settles(lambda: not observe.connections(port), STOPS_WITHIN_S)
        time.sleep(0.1)
        idle = observe.cpu_share(pid, 0.5)
    return Departure(busy, idle, closed, wait_for_turn(site))


def wait_for_turn(site: Site) -> float:
    """Ask the server itself for a short stream; give the age of its first token.

    Where it answers one request at a time, this is how long it was still busy with the one before.
    """
    with traffic.Stream(site.server.url, CHAT, chat(40)) as following:
        age_s = following.content(1)
        following.rest()
    return age_s


def check_leaving(site: Site) -> None:
    """A client that leaves a stream stops the generation, directly and through the proxy alike.

    The connection must be closed at once every time. The server, though, now and then generates on
    without any proxy too: its stream stops when it is waiting for the next token as the client
    leaves, and is forgotten when it is just writing one (2 of 400 departures, measured directly).
    Hence as many tries for the proxy as for the control experiment.
    """
    for api, path, make in APIS:
        for way, url in (("direct", site.server.url), ("through proxy", site.proxy.url)):
            with site.counting() as moved:
                tries: list[Departure] = []
                while len(tries) < TRIES and not (tries and tries[-1].stopped()):
                    tries.append(depart(site, url, path, make()))
                    if url == site.proxy.url:
                        site.expect("cancelled", "client", left=True)
                verdicts = moved().by("goodput_requests_total", "api", "verdict", "cause")
            due = {(api, "cancelled", "client"): len(tries)} if url == site.proxy.url else {}
            missed = len(tries) - 1
            site.report.check(
                tries[-1].stopped()
                and all(each.closed_s is not None for each in tries)
                and verdicts == due,
                f"client leaves, {api}, {way}",
                f"{tries[-1]}"
                + (f"; the server missed {missed} before: {tries[0]}" if missed else "")
                + (f"; {words(verdicts)}" if verdicts else ""),
            )


def check_leaving_unary(site: Site) -> None:
    """A client that leaves before an unstreamed answer: the connection closes just the same.

    Whether the generation stops is the server's affair, and this one goes on; so the proxy has done
    its part when the server's end of the connection is gone while the server is still busy.
    """
    port, pid = site.server.port, site.server.process.pid
    for name, url in (("direct", site.server.url), ("through proxy", site.proxy.url)):
        observe.settles(lambda: not observe.connections(port), DRAINS_WITHIN_S)
        traffic.send_and_leave(url, CHAT, chat(1000, stream=False), after_s=0.2)
        closed = observe.settles(lambda: not observe.connections(port), STOPS_WITHIN_S)
        busy = observe.cpu_share(pid, 0.3)
        following_s = wait_for_turn(site)
        site.report.check(
            closed is not None,
            f"client leaves, in one piece, {name}",
            f"connection closed after {(closed or 0) * 1e3:.0f} ms, processor {busy or 0:.0%} "
            f"after that, next request's first token after {following_s:.2f} s",
        )
    site.expect("cancelled", "client", left=True)
    site.settled()


def check_death(site: Site) -> None:
    """The server dies in mid-stream, and then is not there at all."""
    with site.counting() as moved, traffic.Stream(site.proxy.url, CHAT, chat()) as stream:
        stream.content(20)
        # Waited for, so that the second request meets nobody and not somebody who is dying.
        site.server.process.kill()
        site.server.process.wait(processes.STOP_LIMIT_S)
        try:
            stream.rest()
            ending = "a clean end"
        except (http.client.HTTPException, OSError) as error:
            ending = type(error).__name__
        site.expect("error", "truncated")
        refused = traffic.exchange(site.proxy.url, CHAT, chat(5))
        site.expect("error", "connect")
        verdicts = moved().by("goodput_requests_total", "verdict", "cause")
    site.report.check(
        ending != "a clean end"
        and refused.status == 502
        and verdicts == {("error", "truncated"): 1, ("error", "connect"): 1},
        "server killed in mid-stream",
        f"client sees {ending}, then {refused.status}: {words(verdicts)}",
    )
