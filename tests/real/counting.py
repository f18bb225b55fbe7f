"""The checks of what the proxy counts and passes on while every client stays to the end.

Owns: tokens against the server's usage, times against the client's, bytes against a direct answer,
failures, passthrough, and the sum of all verdicts.
"""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from tests.real import processes, traffic
from tests.real.ground import CLIENT_OVERHEAD_S, chat, words
from tests.real.traffic import CHAT, COMPLETIONS

if TYPE_CHECKING:
    from tests.real.ground import Site
    from tests.real.observe import Samples
    from tests.real.traffic import Seen


def check_streams(site: Site) -> None:
    """Tokens and times of streams, read by the SDK, one after another and at once."""
    with site.counting() as moved:
        seen = [
            site.sdk.stream_chat(max_tokens, include_usage=include_usage)
            for max_tokens in (50, 150, 300)
            for include_usage in (True, False)
        ]
        site.expect("good", count=len(seen))
        check_tokens(site, "streaming chat", seen, moved())
        check_times(site, seen, moved())
    with site.counting() as moved, ThreadPoolExecutor(4) as pool:
        pending = [
            pool.submit(site.sdk.stream_chat, 60, include_usage=bool(n % 2)) for n in range(4)
        ]
        seen = [each.result() for each in pending]
        site.expect("good", count=len(seen))
        check_tokens(site, "streaming chat, four at once", seen, moved())


def check_tokens(site: Site, name: str, seen: list[Seen], moved: Samples) -> None:
    """Compare the proxy's token counters with the server's own usage."""
    told_out = sum(s.completion_tokens for s in seen)
    told_in = sum(s.prompt_tokens for s in seen)
    out = int(moved.total("goodput_output_tokens_total"))
    into = int(moved.total("goodput_input_tokens_total"))
    records = sum(s.content_records for s in seen)
    site.report.check(
        (out, into) == (told_out, told_in) and told_out > 0,
        f"{name}: tokens",
        f"{len(seen)} requests, proxy {out} out {into} in, server's usage {told_out} out "
        f"{told_in} in" + (f" ({records} records with text)" if records else ""),
    )


def check_times(site: Site, seen: list[Seen], moved: Samples) -> None:
    """Compare the proxy's TTFT and E2E with the client's, as means over the same requests."""
    for name, metric, theirs in (
        ("TTFT", "goodput_time_to_first_token_seconds", [s.ttft_s for s in seen]),
        ("E2E", "goodput_request_duration_seconds", [s.e2e_s for s in seen]),
    ):
        count = int(moved.total(f"{metric}_count"))
        ours = moved.total(f"{metric}_sum") / max(count, 1)
        client = sum(theirs) / len(theirs)
        site.report.check(
            count == len(seen) and 0 <= client - ours <= CLIENT_OVERHEAD_S,
            f"streaming chat: {name}",
            f"mean of {count}: proxy {ours * 1e3:.2f} ms, client {client * 1e3:.2f} ms",
        )


def check_unary(site: Site) -> None:
    """Answers in one piece: tokens from usage, and a verdict that says TTFT is not known."""
    with site.counting() as moved:
        seen = [site.sdk.chat(max_tokens) for max_tokens in (20, 100)]
        site.expect("good_partial", count=len(seen))
        check_tokens(site, "unary chat", seen, moved())
        first = int(moved().total("goodput_time_to_first_token_seconds_count"))
        site.report.check(first == 0, "unary chat: no TTFT", f"{first} observations")


def check_completions(site: Site) -> None:
    """The older completions API, where the installed server has it."""
    described = traffic.exchange(site.server.url, "/openapi.json")
    if COMPLETIONS.encode() not in described.body:
        site.report.say("--", "completions", "not served by this version")
        return
    with site.counting() as moved:
        seen = [site.sdk.stream_completion(max_tokens) for max_tokens in (50, 200)]
        site.expect("good", count=len(seen))
        check_tokens(site, "streaming completions", seen, moved())
    with site.counting() as moved:
        seen = [site.sdk.completion(30)]
        site.expect("good_partial")
        check_tokens(site, "unary completions", seen, moved())


def check_bytes(site: Site) -> None:
    """The same seeded request, direct and through the proxy, gives the same answer."""
    streamed, whole = chat(120, seed=7), chat(120, seed=7, stream=False)
    legacy = {"model": processes.MODEL_NAME, "prompt": "x", "max_tokens": 120, "seed": 7}
    for name, path, body, verdict in (
        ("streaming chat", CHAT, streamed, ("good", "")),
        ("unary chat", CHAT, whole, ("good_partial", "")),
        ("streaming completions", COMPLETIONS, legacy | {"stream": True}, ("good", "")),
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
    return re.sub(rb'"created":\d+', b'"created":0', body)


def check_failures(site: Site) -> None:
    """An error record inside a 200, and a request that the server refuses."""
    with site.counting() as moved:
        inside = traffic.exchange(site.proxy.url, CHAT, chat(20, temperature=-1.0))
        site.expect("error", "stream_error")
        refused = traffic.exchange(site.proxy.url, CHAT, chat(20, model="not-there"))
        site.expect("client_error", "http_4xx")
        verdicts = moved().by("goodput_requests_total", "verdict", "cause")
    site.report.check(
        (inside.status, refused.status) == (200, 400)
        and b'"error"' in inside.body
        and verdicts == {("error", "stream_error"): 1, ("client_error", "http_4xx"): 1},
        "failures",
        f"error inside a {inside.status}, refusal {refused.status}: {words(verdicts)}",
    )


def check_passthrough(site: Site) -> None:
    """What is not inference passes and is counted apart."""
    with site.counting() as moved:
        models = site.sdk.models()
        health = traffic.exchange(site.proxy.url, "/health")
        delta = moved()
    judged = int(delta.total("goodput_requests_total"))
    passed = int(delta.total("goodput_passthrough_requests_total"))
    site.report.check(
        (health.status, judged, passed) == (200, 0, 2),
        "passthrough",
        f"/v1/models ({models} listed) and /health ({health.status}): {passed} passed, "
        f"{judged} judged",
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
