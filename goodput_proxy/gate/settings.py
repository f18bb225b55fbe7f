"""The flags of `goodput-proxy gate`."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AwareDatetime, Field, HttpUrl, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from goodput_proxy.duration import Duration, PositiveDuration
from goodput_proxy.settings import CommandSettings

# What Prometheus allows as a label's name.
LabelName = Annotated[str, Field(pattern=r"^[a-zA-Z_][a-zA-Z0-9_]*$")]

# These tell the verdicts apart that the ratio is made of.
_OUR_LABELS = {"verdict", "cause"}
# PromQL counts in milliseconds, and no scrape interval is below a second.
_SHORTEST_RANGE_NS = 10**9


class GateSettings(CommandSettings):
    """Settings of the gate."""

    model_config = SettingsConfigDict(env_prefix="GOODPUT_GATE_")

    proxy: HttpUrl | None = Field(
        None, description="admin address of a running proxy, such as http://127.0.0.1:9001"
    )
    for_: PositiveDuration = Field(
        Duration.parse("60s"), alias="for", description="with --proxy: how long to count"
    )
    prometheus: HttpUrl | None = Field(
        None, description="a Prometheus that scrapes proxies, such as http://127.0.0.1:9090"
    )
    range_: PositiveDuration = Field(
        Duration.parse("5m"), alias="range", description="with --prometheus: how far to look back"
    )
    at: AwareDatetime | None = Field(
        None,
        description="with --prometheus: the end of the range, as 2026-01-31T12:00:00Z or in"
        " seconds since 1970; without it, now",
    )
    match: dict[LabelName, str] = Field(
        default={}, description="LABEL=VALUE of what to count, such as slo=gold; repeatable"
    )
    min_: float | None = Field(
        None,
        alias="min",
        gt=0,
        le=1,
        description="lowest goodput ratio of a class; without it, the class's own objective",
    )
    min_requests: int = Field(
        20, ge=1, description="fewest judged requests from which a class's ratio means anything"
    )
    output: Literal["table", "json"] = Field("table", description="table or json")

    @field_validator("range_")
    @classmethod
    def _is_long_enough(cls, value: Duration) -> Duration:
        if value < _SHORTEST_RANGE_NS:
            raise ValueError("must be at least 1s")
        return value

    @field_validator("match")
    @classmethod
    def _leaves_verdicts_alone(cls, match: dict[str, str]) -> dict[str, str]:
        for name in sorted(_OUR_LABELS & match.keys()):
            raise ValueError(f"a ratio needs every {name}")
        return match

    @model_validator(mode="after")
    def _has_one_source(self) -> Self:
        if (self.proxy is None) == (self.prometheus is None):
            raise ValueError("give either --proxy or --prometheus")
        unused = {"at", "range_"} if self.proxy is not None else {"for_"}
        for name in sorted(unused & self.model_fields_set):
            flag = name.rstrip("_")
            source = "proxy" if self.proxy is not None else "prometheus"
            raise ValueError(f"--{flag} has no meaning with --{source}")
        return self
