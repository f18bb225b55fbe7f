"""The checks of what the proxy counts and passes on while every client stays to the end.

Owns: tokens against the server's usage, times against the client's, bytes against a direct answer,
failures, passthrough, and the sum of all verdicts.
"""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from tests.real import processes, traffic
from tests.real.ground import (
    APIS,
    CLIENT_OVERHEAD_S,
    chat,
    completion,
    response,
    words,
)
from tests.real.traffic import CHAT, COMPLETIONS, RESPONSES

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.real.ground import Site
    from tests.real.observe import Samples
    from tests.real.traffic import Seen


def check_streams(site: Site) -> None:
    """Tokens and times of streams, read by the SDK, one after another and at once."""
    for include_usage in (True, False):
        with site.counting() as moved:
            seen = [
                site.sdk.stream_chat(max_tokens, include_usage=include_usage)
                for max_tokens in (50, 150, 300)
            ]
            name = "chat, streamed, " + ("usage asked for" if include_usage else "no options")
            check_tokens(site, name, "chat good", seen, moved)
            check_times(site, name, seen, moved())
    with site.counting() as moved, ThreadPoolExecutor(4) as pool:
        pending = [
            pool.submit(site.sdk.stream_chat, 60, include_usage=bool(n % 2)) for n in range(4)
        ]
        seen = [each.result() for each in pending]
        check_tokens(site, "chat, streamed, four at once", "chat good", seen, moved)


def check_tokens(
    site: Site, name: str, due: str, seen: list[Seen], moved: Callable[[], Samples]
) -> None:
    """Compare the proxy's counters with the server's own usage.

    Args:
        site: where.
        name: of the line.
        due: the API and the verdict that every one of the requests deserves.
        seen: the requests, as their client saw them.
        moved: tells by how much the metrics have moved for them.
    """
    site.expect(due.partition(" ")[2], count=len(seen))
    delta = moved()
    told_out = sum(s.completion_tokens for s in seen)
    told_in = sum(s.prompt_tokens for s in seen)
    out = int(delta.total("goodput_output_tokens_total"))
    into = int(delta.total("goodput_input_tokens_total"))
    verdicts = delta.by("goodput_requests_total", "api", "verdict")
    sources = delta.by("goodput_token_count_source_total", "source")
    failed = delta.by("goodput_tap_errors_total", "reason")
    records = sum(s.content_records for s in seen)
    site.report.check(
        (out, into) == (told_out, told_in)
        and told_out > 0
        and verdicts == {tuple(due.split()): len(seen)}
        and sources == {("usage",): len(seen)}
        and not failed,
        name,
        f"{words(verdicts)}; proxy {out} out {into} in, server's usage {told_out} out "
        f"{told_in} in"
        + (f" ({records} records with text)" if records else "")
        + (f"; tap errors: {words(failed)}" if failed else ""),
    )


def check_times(site: Site, name: str, seen: list[Seen], moved: Samples) -> None:
    """Compare the proxy's TTFT and E2E with the client's, as means over the same requests."""
    for word, metric, theirs in (
        ("TTFT", "goodput_time_to_first_token_seconds", [s.ttft_s for s in seen]),
        ("E2E", "goodput_request_duration_seconds", [s.e2e_s for s in seen]),
    ):
        count = int(moved.total(f"{metric}_count"))
        ours = moved.total(f"{metric}_sum") / max(count, 1)
        client = sum(theirs) / len(theirs)
        site.report.check(
            count == len(seen) and 0 <= client - ours <= CLIENT_OVERHEAD_S,
            f"{name}: {word}",
            f"mean of {count}: proxy {ours * 1e3:.2f} ms, client {client * 1e3:.2f} ms",
        )


def check_unary(site: Site) -> None:
    """Answers in one piece: tokens from usage, and a verdict that says TTFT is not known."""
    with site.counting() as moved:
        seen = [site.sdk.chat(max_tokens) for max_tokens in (20, 100)]
        check_tokens(site, "chat, in one piece", "chat good_partial", seen, moved)
        first = int(moved().total("goodput_time_to_first_token_seconds_count"))
        site.report.check(first == 0, "chat, in one piece: no TTFT", f"{first} observations")


def check_completions(site: Site) -> None:
    """The older completions API, where the installed server has it."""
    if not serves(site, COMPLETIONS):
        return
    for include_usage in (True, False):
        with site.counting() as moved:
            seen = [
                site.sdk.stream_completion(max_tokens, include_usage=include_usage)
                for max_tokens in (50, 200)
            ]
            name = "completions, streamed, " + (
                "usage asked for" if include_usage else "no options"
            )
            check_tokens(site, name, "completions good", seen, moved)
            check_times(site, name, seen, moved())
    with site.counting() as moved:
        seen = [site.sdk.completion(30)]
        check_tokens(site, "completions, in one piece", "completions good_partial", seen, moved)


def check_responses(site: Site) -> None:
    """The newer responses API, where the installed server has it; it has no usage option."""
    if not serves(site, RESPONSES):
        return
    with site.counting() as moved:
        seen = [site.sdk.stream_response(max_tokens) for max_tokens in (50, 200)]
        check_tokens(site, "responses, streamed", "responses good", seen, moved)
        check_times(site, "responses, streamed", seen, moved())
    with site.counting() as moved:
        seen = [site.sdk.response(30)]
        check_tokens(site, "responses, in one piece", "responses good_partial", seen, moved)
    # This server, unlike the API's inventor, streams to whoever does not say what he wants.
    with site.counting() as moved:
        unasked = response(40)
        del unasked["stream"]
        answer = traffic.exchange(site.proxy.url, RESPONSES, unasked)
        last = json.loads(answer.body.rstrip().rpartition(b"data: ")[2])
        usage = last["response"]["usage"]
        seen = [traffic.Seen(usage["input_tokens"], usage["output_tokens"])]
        check_tokens(site, "responses, streamed unasked", "responses good", seen, moved)


def serves(site: Site, path: str) -> bool:
    """Say whether the installed server has an API, and report it where it has not."""
    served = path.encode() in traffic.exchange(site.server.url, "/openapi.json").body
    if not served:
        site.report.say("--", path, "not served by this version")
    return served


def check_bytes(site: Site) -> None:
    """The same seeded request, direct and through the proxy, gives the same answer."""
    for name, path, body, verdict in (
        ("chat, streamed", CHAT, chat(120, seed=7), ("good", "")),
        ("chat, in one piece", CHAT, chat(120, seed=7, stream=False), ("good_partial", "")),
        ("completions, streamed", COMPLETIONS, completion(120, seed=7), ("good", "")),
        ("responses, streamed", RESPONSES, response(120, seed=7), ("good", "")),
        ("refused request", CHAT, chat(unheard_of=1), ("client_error", "http_4xx")),
    ):
        # The server takes the request's id from the client, so only the clock is left to differ.
        direct, through = (
            traffic.exchange(url, path, body, x_request_id="verify-real")
            for url in (site.server.url, site.proxy.url)
        )
        site.expect(*verdict)
        same_head = direct.status == through.status and _lasting(direct) == _lasting(through)
        same_body = _timeless(direct.body) == _timeless(through.body)
        site.report.check(
            same_head and same_body,
            f"{name}: same bytes",
            f"status {through.status}, {len(through.headers)} headers, {len(through.body)} bytes"
            + ("" if same_head else f"; {_lasting(direct)} became {_lasting(through)}")
            + ("" if same_body else "; bodies differ"),
        )


def _lasting(answer: traffic.Answer) -> list[tuple[str, str]]:
    return sorted(header for header in answer.headers if header[0].lower() != "date")


def _timeless(body: bytes) -> bytes:
    return re.sub(rb'"(created|created_at)":[0-9.]+', rb'"\1":0', body)


def check_failures(site: Site) -> None:
    """An error record inside a 200, a request that the server refuses, an answer that is none.

    This server, like all of its kind, closes the connection some milliseconds after the last one
    without having said so in it: the next request must not be sent there.
    """
    for api, path, make in APIS:
        with site.counting() as moved:
            inside = traffic.exchange(site.proxy.url, path, make(20, temperature=-1.0))
            site.expect("error", "stream_error")
            refused = traffic.exchange(site.proxy.url, path, make(20, model="not-there"))
            site.expect("client_error", "http_4xx")
            broken = traffic.exchange(
                site.proxy.url, path, make(20, temperature=-1.0, stream=False)
            )
            site.expect("error", "http_5xx")
            delta = moved()
        verdicts = delta.by("goodput_requests_total", "api", "verdict", "cause")
        failed = delta.by("goodput_tap_errors_total", "reason")
        due = (("error", "stream_error"), ("client_error", "http_4xx"), ("error", "http_5xx"))
        site.report.check(
            (inside.status, refused.status, broken.status) == (200, 400, 500)
            and b'"error"' in inside.body
            and verdicts == {(api, *verdict): 1 for verdict in due}
            and not failed,
            f"{api}, failures",
            f"error inside a {inside.status}, refusal {refused.status}, {broken.status}: "
            + words(verdicts)
            + (f"; tap errors: {words(failed)}" if failed else ""),
        )


def check_passthrough(site: Site) -> None:
    """What is not inference passes and is counted apart, the stream of a model's loading, too."""
    with site.counting() as moved:
        models = site.sdk.models()
        health = traffic.exchange(site.proxy.url, "/health")
        loaded = traffic.exchange(site.proxy.url, "/load_model", {"model": processes.MODEL_NAME})
        delta = moved()
    judged = int(delta.total("goodput_requests_total"))
    passed = delta.by("goodput_passthrough_requests_total", "kind")
    site.report.check(
        (health.status, loaded.status, judged) == (200, 200, 0)
        and b"data:" in loaded.body
        and passed == {("metadata",): 1, ("health",): 1, ("load",): 1},
        "passthrough",
        f"/v1/models ({models} listed), /health ({health.status}) and /load_model "
        f"({loaded.body.count(b'data:')} records): {words(passed)}, {judged} judged",
    )


def check_verdicts(site: Site) -> None:
    """Every request so far has its one verdict, and nothing is left in flight."""
    samples = site.settled()
    verdicts = samples.by("goodput_requests_total", "verdict", "cause")
    site.report.check(
        verdicts == dict(site.due),
        "verdicts",
        f"{int(samples.total('goodput_requests_total'))} of {site.due.total()} requests: "
        + words(verdicts)
        + ("" if verdicts == dict(site.due) else f"; due: {words(site.due)}"),
    )
    compliant = int(samples.total("goodput_slo_compliant_requests_total"))
    good = site.due["good", ""] + site.due["good_partial", ""]
    in_flight = int(samples.total("goodput_requests_in_flight"))
    failed = samples.by("goodput_tap_errors_total", "reason")
    site.report.check(
        compliant == good and in_flight == 0 and not failed,
        "compliant, in flight, tap errors",
        f"{compliant} of {good}, {in_flight}, {words(failed) or 'none'}",
    )
    phases = samples.by("goodput_client_cancels_total", "phase")
    site.report.check(
        sum(phases.values()) == site.left,
        "clients that left early",
        f"{sum(phases.values())} of {site.left}: {words(phases)}",
    )
    sources = samples.by("goodput_token_count_source_total", "source")
    site.report.say("--", "token counts came from", words(sources))
