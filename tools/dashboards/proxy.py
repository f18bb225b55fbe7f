"""*Goodput / Proxy*: what the proxy costs, what it could not read, and what it runs on."""

from __future__ import annotations

from expressions import JOB, NAMESPACE, model, rate_by, slo
from panels import (
    LIMITS,
    Query,
    Row,
    dashboard,
    heatmap,
    quantiles,
    stat,
    steps,
    table,
    timeseries,
    transform,
    variable,
)


def proxies(metric: str) -> str:
    """Return a metric of the process, of goodput-proxies alone: others have it as well."""
    return f"{metric} and on (namespace, job, instance) goodput_build_info{{@proxy}}"


# With several workers the process that is scraped is their supervisor.
PROCESSES = f"""
    {proxies("rate(process_cpu_seconds_total{@proxy}[$__rate_interval])")}
    or rate(goodput_worker_cpu_seconds_total{{@proxy}}[$__rate_interval])
"""


def p99(metric: str, selector: str, by: str = "") -> str:
    """Return the 99th percentile of a histogram."""
    rates = f"sum by ({by}le) (rate({metric}_bucket{{{selector}}}[$__rate_interval]))"
    return f"histogram_quantile(0.99, {rates})"


HEALTH = Row(
    "Now",
    (
        stat(
            "Proxies",
            "How many are scraped. Metric: `goodput_build_info`.",
            "short",
            "count(goodput_build_info{@proxy})",
        ),
        stat(
            "In flight",
            "Inference requests that have begun and not ended."
            " Metric: `goodput_requests_in_flight`.",
            "short",
            "sum(goodput_requests_in_flight{@proxy})",
        ),
        stat(
            "Token overhead, p99",
            "From a token's read to its hand-over to the kernel."
            " Metric: `goodput_proxy_overhead_seconds`.",
            "s",
            p99("goodput_proxy_overhead_seconds", '@proxy,stage="token"'),
        ),
        stat(
            "Loop lag, p99",
            "How late timers fire. Metric: `goodput_event_loop_lag_seconds`.",
            "s",
            p99("goodput_event_loop_lag_seconds", "@proxy"),
            steps((None, "green"), (0.01, "orange"), (0.05, "red")),
        ),
        stat(
            "CPU of the busiest",
            "Cores; a process has one event loop and can use one."
            " Metrics: `process_cpu_seconds_total`, `goodput_worker_cpu_seconds_total`.",
            "short",
            f"max({PROCESSES})",
            steps((None, "green"), (0.6, "orange"), (0.85, "red")),
        ),
        stat(
            "Upstream errors",
            "Exchanges per second that the server broke. Metric: `goodput_upstream_errors_total`.",
            "cps",
            "sum(rate(goodput_upstream_errors_total{@proxy}[$__rate_interval]))",
            steps((None, "green"), (0.001, "orange")),
        ),
        stat(
            "Unread",
            "Records and bodies per second that the meter could not read."
            " Metric: `goodput_tap_errors_total`.",
            "cps",
            "sum(rate(goodput_tap_errors_total{@proxy}[$__rate_interval]))",
            steps((None, "green"), (0.001, "orange")),
        ),
        stat(
            "Configuration refused",
            "Proxies whose file cannot be used and who go on with the one before."
            " Metric: `goodput_config_last_reload_successful`.",
            "short",
            "sum(1 - goodput_config_last_reload_successful{@proxy})",
            steps((None, "green"), (1, "red")),
        ),
    ),
)

OVERHEAD = Row(
    "Overhead",
    (
        *(
            quantiles(
                title,
                f"{text} Metric: `goodput_proxy_overhead_seconds`.",
                "goodput_proxy_overhead_seconds",
                selector=f'@proxy,stage="{stage}"',
                width=8,
            )
            for stage, title, text in (
                ("token", "Of a token", "From its read to its hand-over to the kernel."),
                ("request", "Of a request", "From its head read to its head sent upstream."),
                (
                    "upload",
                    "Of a body",
                    "From the head read to the body sent: clients' speed, too.",
                ),
            )
        ),
        quantiles(
            "Event loop lag",
            "How late timers fire; whatever holds the loop up, holds tokens up."
            " Metric: `goodput_event_loop_lag_seconds`.",
            "goodput_event_loop_lag_seconds",
            selector="@proxy",
            width=8,
        ),
        timeseries(
            "Event loop lag by instance",
            "The 99th percentile of each. Metric: `goodput_event_loop_lag_seconds`.",
            "s",
            Query(p99("goodput_event_loop_lag_seconds", "@proxy", "instance, "), "{{instance}}"),
            width=8,
        ),
        heatmap(
            "Overhead of tokens, distribution",
            "Tokens per second by overhead. Metric: `goodput_proxy_overhead_seconds`.",
            "goodput_proxy_overhead_seconds",
            '@proxy,stage="token"',
        ),
    ),
)

CONNECTIONS = Row(
    "Connections",
    (
        timeseries(
            "In flight by instance",
            "Uneven lines are a load balancer that does not know how busy each is."
            " Metric: `goodput_requests_in_flight`.",
            "short",
            Query("sum by (instance) (goodput_requests_in_flight{@proxy})", "{{instance}}"),
            width=6,
        ),
        timeseries(
            "Open descriptors",
            "Each connection of a client and each to the server is one; dashed is the least that"
            " a process may have open. Metrics: `process_open_fds`, `process_max_fds`.",
            "short",
            Query(proxies("process_open_fds{@proxy}"), "{{instance}}"),
            Query(f"min({proxies('process_max_fds{@proxy}')})", "limit"),
            width=6,
            overrides=LIMITS,
        ),
        timeseries(
            "Upstream errors by reason",
            "How the server broke exchanges, by reason. Metric: `goodput_upstream_errors_total`.",
            "cps",
            Query(
                rate_by("reason", "goodput_upstream_errors_total{@proxy}"),
                "{{reason}}",
            ),
            width=6,
            stacked=True,
        ),
        timeseries(
            "Connections closed on clients",
            "By reason: above the limit, or too slow to send or to take."
            " Metric: `goodput_client_faults_total`.",
            "cps",
            Query(
                rate_by("reason", "goodput_client_faults_total{@proxy}"),
                "{{reason}}",
            ),
            width=6,
            stacked=True,
        ),
    ),
)

METER = Row(
    "Meter",
    (
        timeseries(
            "Unread records and bodies",
            "By reason; the bytes were forwarded. Metric: `goodput_tap_errors_total`.",
            "cps",
            Query(
                rate_by("reason", "goodput_tap_errors_total{@proxy}"),
                "{{reason}}",
            ),
            width=6,
            stacked=True,
        ),
        timeseries(
            "Where token counts come from",
            "`usage` is the server's own number; `events` counts records, which is a lower bound."
            " Metric: `goodput_token_count_source_total`.",
            "reqps",
            Query(
                rate_by("source", "goodput_token_count_source_total{@proxy}"),
                "{{source}}",
            ),
            width=6,
            stacked=True,
        ),
        timeseries(
            "Requests that are not judged",
            "By kind: `other` is not known to the meter, `unmeasured` is inference whose meter"
            " broke. Metric: `goodput_passthrough_requests_total`.",
            "reqps",
            Query(
                rate_by("kind", "goodput_passthrough_requests_total{@proxy}"),
                "{{kind}}",
            ),
            width=6,
            stacked=True,
        ),
        timeseries(
            "Headers that are ignored",
            "Limits and classes that requests named and that could not be taken, by reason."
            " Metric: `goodput_slo_header_errors_total`.",
            "cps",
            Query(
                rate_by("reason", "goodput_slo_header_errors_total{@proxy}"),
                "{{reason}}",
            ),
            width=6,
            stacked=True,
        ),
    ),
)

WORKERS = Row(
    "Workers",
    (
        timeseries(
            "Processes that take requests",
            "By instance; one that is missing is being replaced. Metric: `goodput_workers`.",
            "short",
            Query("goodput_workers{@proxy}", "{{instance}}"),
            width=6,
        ),
        timeseries(
            "CPU by worker",
            "Cores; uneven lines are few connections, which the kernel deals without knowing who is"
            " busy. Empty with one process. Metric: `goodput_worker_cpu_seconds_total`.",
            "short",
            Query(
                rate_by("instance, worker", "goodput_worker_cpu_seconds_total{@proxy}"),
                "{{instance}} {{worker}}",
            ),
            width=6,
            noValue="One process",
        ),
        timeseries(
            "Workers that ended unasked",
            "By instance; each takes its clients' streams with it."
            " Metric: `goodput_worker_restarts_total`.",
            "cps",
            Query(
                rate_by("instance", "goodput_worker_restarts_total{@proxy}"),
                "{{instance}}",
            ),
            width=6,
        ),
        timeseries(
            "Requests that nobody counted",
            "They were answered, but are missing in all other panels: their worker was not heard"
            " for too long. Metric: `goodput_worker_lost_requests_total`.",
            "reqps",
            Query(
                rate_by("instance", "goodput_worker_lost_requests_total{@proxy}"),
                "{{instance}}",
            ),
            width=6,
        ),
    ),
)

RESOURCES = Row(
    "Resources",
    (
        timeseries(
            "CPU of the busiest process",
            "Cores, by instance; near 1 it delays tokens."
            " Metrics: `process_cpu_seconds_total`, `goodput_worker_cpu_seconds_total`.",
            "short",
            Query(f"max by (instance) ({PROCESSES})", "{{instance}}"),
            width=6,
        ),
        timeseries(
            "Memory",
            "Resident, by instance, of the process that is scraped: not of its workers."
            " Metric: `process_resident_memory_bytes`.",
            "bytes",
            Query(proxies("process_resident_memory_bytes{@proxy}"), "{{instance}}"),
            width=6,
        ),
        timeseries(
            "Configuration's age",
            "Since the configuration in force was read; replicas that differ judge differently."
            " Metric: `goodput_config_last_reload_success_timestamp_seconds`.",
            "s",
            Query(
                "time() - goodput_config_last_reload_success_timestamp_seconds{@proxy}",
                "{{instance}}",
            ),
            width=6,
        ),
        timeseries(
            "Certificates end in",
            "By the group of settings that names them; empty without TLS."
            " Metric: `goodput_tls_certificate_expiry_timestamp_seconds`.",
            "s",
            Query(
                "min by (use) (goodput_tls_certificate_expiry_timestamp_seconds{@proxy}) - time()",
                "{{use}}",
            ),
            width=6,
            noValue="No TLS",
        ),
        table(
            "Versions",
            "What runs where. Metric: `goodput_build_info`.",
            "short",
            Query(
                "count by (namespace, job, version, python, aiohttp) (goodput_build_info{@proxy})"
            ),
            width=12,
            transformations=(
                transform(
                    "organize", excludeByName={"Time": True}, renameByName={"Value": "proxies"}
                ),
            ),
        ),
    ),
)

PROXY = dashboard(
    "goodput-proxy",
    "Goodput / Proxy",
    "Whether the proxy itself is well: what it costs, what it could not read, what it runs on.",
    [
        NAMESPACE,
        JOB,
        variable("instance", "Instance", "label_values(goodput_build_info{@job}, instance)"),
        model(hidden=True),
        slo(hidden=True),
    ],
    [HEALTH, OVERHEAD, CONNECTIONS, METER, WORKERS, RESOURCES],
)
