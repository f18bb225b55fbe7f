"""The promises: limits, objectives, and which requests they are made to."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator

from goodput_proxy.duration import Duration, PositiveDuration
from goodput_proxy.slo import DEFAULT_CLASS, Limits

from .group import Group

Objective = Annotated[float, Field(gt=0, lt=1)]
# What RFC 9110 allows in a header's name.
HeaderName = Annotated[str, Field(pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")]


class _LimitsGroup(Group):
    ttft: PositiveDuration | None = Field(None, description="limit of time to first token")
    itl: PositiveDuration | None = Field(
        None, description="limit of the request's mean inter-token latency (TPOT)"
    )
    stall: PositiveDuration | None = Field(None, description="limit of the longest pause")
    e2e: PositiveDuration | None = Field(None, description="limit until the last token")
    objective: Objective = Field(
        0.95, description="share of requests that must meet all limits, between 0 and 1"
    )

    @field_validator("ttft", "itl", "stall", "e2e", mode="before")
    @classmethod
    def _may_be_none(cls, value: object) -> object:
        """Let a flag or a variable, which cannot say null, switch a limit off."""
        return None if value == "none" else value

    def limits(self) -> Limits:
        """Return the limits in the pure core's own type."""
        limits = (self.ttft, self.itl, self.stall, self.e2e)
        return Limits(*(None if limit is None else int(limit) for limit in limits))


class SloSettings(_LimitsGroup):
    """The class `default`: what every request is promised that no other class takes."""

    ttft: PositiveDuration | None = Field(
        Duration.parse("500ms"), description="limit of time to first token"
    )
    itl: PositiveDuration | None = Field(
        Duration.parse("100ms"),
        description="limit of the request's mean inter-token latency (TPOT)",
    )


class MatchSettings(Group):
    """Globs that a request must match; what is left out matches everything."""

    model: str | None = Field(None, description="glob on the request's model")
    path: str | None = Field(None, description="glob on the request's path")
    headers: dict[HeaderName, str] = Field(default={}, description="globs on request headers")


class SloClassSettings(_LimitsGroup):
    """One class of `slo_classes`; the first that matches a request takes it."""

    name: str = Field(
        pattern=r"^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}$", description="value of the label slo"
    )
    match: MatchSettings = Field(MatchSettings(), description="which requests belong to the class")

    @field_validator("name")
    @classmethod
    def _is_free(cls, name: str) -> str:
        if name == DEFAULT_CLASS:
            raise ValueError("is taken: the class `default` is configured under `slo`")
        return name
