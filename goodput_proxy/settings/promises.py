"""The promises: limits, objectives, which requests they are made to, and what these may choose."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, Field, field_validator, model_validator

from goodput_proxy.duration import Duration, PositiveDuration
from goodput_proxy.policy import DEFAULT_CLASS
from goodput_proxy.presets import PRESETS, check_preset
from goodput_proxy.slo import Limits

from .group import Group

if TYPE_CHECKING:
    from pydantic import ValidationInfo

Objective = Annotated[float, Field(gt=0, lt=1)]
# What RFC 9110 allows in a header's name.
HeaderName = Annotated[str, Field(pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")]


class _LimitsGroup(Group):
    preset: Annotated[str, AfterValidator(check_preset)] | None = Field(
        None,
        description="published limits and objective by name, from the list of presets; what is set"
        " beside it is stronger",
    )
    ttft: PositiveDuration | None = Field(None, description="limit of time to first token")
    itl: PositiveDuration | None = Field(
        None, description="limit of the request's mean inter-token latency (TPOT)"
    )
    stall: PositiveDuration | None = Field(None, description="limit of the longest pause")
    e2e: PositiveDuration | None = Field(None, description="limit until the last token")
    objective: Objective = Field(
        0.95, description="share of requests that must meet all limits, between 0 and 1"
    )

    @model_validator(mode="before")
    @classmethod
    def _apply_preset(cls, data: Any) -> Any:
        """Put a preset in the place of the defaults, all of them, and below what is set."""
        preset = PRESETS.get(str(data.get("preset"))) if isinstance(data, dict) else None
        if preset is None:  # one that does not exist is told of with its field
            return data
        unset = dict.fromkeys(("ttft", "itl", "stall", "e2e"))
        published = {d.value: Duration(ns) for d, ns in preset.limits.items()}
        return {**unset, **published, "objective": preset.objective, **data}

    @field_validator("preset", "ttft", "itl", "stall", "e2e", mode="before")
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


class SloHeaderSettings(Group):
    """What a request may choose of its SLO, by headers of its own."""

    limits: bool = Field(
        default=False,
        description="let `x-slo-ttft-ms` and `x-slo-tpot-ms` stand in for the limits ttft and itl"
        " of the request's class",
    )
    smallest: PositiveDuration = Field(
        Duration.parse("1ms"), description="smallest limit that is accepted of a request"
    )
    # The default of `timeouts.idle`: no first token comes later.
    largest: PositiveDuration = Field(
        Duration.parse("10m"), description="largest limit that is accepted of a request"
    )
    classes: bool = Field(
        default=False, description="let `x-slo-class` name the request's class, whatever matches"
    )

    @field_validator("largest")
    @classmethod
    def _is_not_below_smallest(cls, largest: Duration, info: ValidationInfo) -> Duration:
        if largest < info.data.get("smallest", largest):
            raise ValueError(f"must not be below smallest, which is {info.data['smallest']}")
        return largest
