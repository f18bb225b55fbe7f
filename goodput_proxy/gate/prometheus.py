"""A window of the past, asked of a Prometheus.

Two instant queries, each with the range inside: how much every counter has grown, counter resets
taken care of, and what the classes promise. The numbers are those of a dashboard with the same
range, extrapolation included.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import aiohttp
import msgspec

from goodput_proxy.scrape import public, reason_of
from goodput_proxy.settings import ConfigError

from .counts import Counts, Observation

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from yarl import URL

# Prometheus itself gives a query up after two minutes; a gate's query touches few series.
QUERY_TIMEOUT_S = 30.0

# Labels of the requests that the gauge of objectives does not have.
_OF_REQUESTS = {"api", "model"}


class _Series(msgspec.Struct, frozen=True):
    metric: dict[str, str]
    value: tuple[float, str]


class _Vector(msgspec.Struct, frozen=True):
    result: list[_Series]


class _Answer(msgspec.Struct, frozen=True):
    status: str
    data: _Vector | None = None
    error: str = ""


async def observe_prometheus(
    client: aiohttp.ClientSession,
    url: URL,
    range_ns: int,
    at_s: float | None,
    match: Mapping[str, str],
) -> Observation:
    """Ask for the growth of all verdicts over a range, and for the classes' objectives.

    Raises:
        ConfigError: when there is no Prometheus at the address, or nothing that matches.
    """
    window = f"[{range_ns // 10**6}ms]"
    requests = f"goodput_requests_total{_selector(match)}{window}"
    objective = f"goodput_slo_objective_ratio{_selector(match, without=_OF_REQUESTS)}{window}"
    grown = await _query(client, url, f"sum by (slo, verdict, cause) (increase({requests}))", at_s)
    # The last value rather than the present one: the proxy may be gone by now.
    promised = await _query(client, url, f"max by (slo) (last_over_time({objective}))", at_s)
    if not grown:
        raise ConfigError([f"prometheus: {public(url)} has no two samples of {requests}"])
    classes: dict[str, dict[tuple[str, str], float]] = {}
    for series in grown:
        key = (series.metric["verdict"], series.metric.get("cause", ""))
        classes.setdefault(series.metric["slo"], {})[key] = float(series.value[1])
    return Observation(
        source=public(url),
        window_s=range_ns / 10**9,
        classes={slo: Counts(counts) for slo, counts in classes.items()},
        objectives={series.metric["slo"]: float(series.value[1]) for series in promised},
    )


async def _query(
    client: aiohttp.ClientSession, url: URL, query: str, at_s: float | None
) -> list[_Series]:
    parameters = {"query": query} | ({} if at_s is None else {"time": f"{at_s:.3f}"})
    try:
        async with client.get(
            url / "api/v1/query",
            params=parameters,
            timeout=aiohttp.ClientTimeout(total=QUERY_TIMEOUT_S),
        ) as response:
            status, body = response.status, await response.read()
    except (aiohttp.ClientError, OSError) as error:  # a timeout is an OSError
        raise ConfigError(
            [f"prometheus: {public(url)} cannot be asked: {reason_of(error)}"]
        ) from None
    try:
        answer = msgspec.json.decode(body, type=_Answer)
    except msgspec.DecodeError:
        raise ConfigError(
            [f"prometheus: {public(url)} answers like no Prometheus, with HTTP {status}"]
        ) from None
    if answer.data is None:
        raise ConfigError([f"prometheus: {public(url)} refuses: {answer.error or status}"])
    return answer.data.result


def _selector(match: Mapping[str, str], without: Collection[str] = ()) -> str:
    # A JSON string is a string in PromQL, too.
    pairs = (
        f"{name}={json.dumps(value, ensure_ascii=False)}"
        for name, value in match.items()
        if name not in without
    )
    joined = ",".join(pairs)
    return f"{{{joined}}}" if joined else ""
