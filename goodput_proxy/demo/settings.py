"""The flags of `goodput-proxy demo`, and how they become its options."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path  # noqa: TC003 -- pydantic reads it
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainValidator
from pydantic_settings import CliImplicitFlag, NoDecode, SettingsConfigDict

from goodput_proxy.address import Listen, ListenAddress
from goodput_proxy.duration import Duration, PositiveDuration
from goodput_proxy.settings import CommandSettings

from .run import DemoOptions
from .scenarios import SCENARIOS

_NAMES = ", ".join(SCENARIOS)


def _known(name: str) -> str:
    if name not in SCENARIOS:
        raise ValueError(f"there is no {name!r}; there are {_NAMES}")
    return name


def _parse_length(value: object) -> Duration | Literal["auto"] | None:
    if value is None:
        return None
    if value == "auto":
        return "auto"
    length = Duration.parse(value)
    if length == 0:
        raise ValueError("must be above zero")
    return length


class DemoSloSettings(BaseModel):
    """The promise that the demonstration breaks; a limit that is not given is the scenario's."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    ttft: PositiveDuration | None = Field(
        None, description="limit of TTFT; without it, the scenario's"
    )
    itl: PositiveDuration | None = Field(
        None, description="limit of mean ITL; without it, the scenario's"
    )
    stall: PositiveDuration | None = Field(
        None, description="limit of the longest pause; without it, the scenario's"
    )


class DemoSettings(CommandSettings):
    """Settings of the demonstration."""

    model_config = SettingsConfigDict(env_prefix="GOODPUT_DEMO_")

    scenario: Annotated[str, AfterValidator(_known)] = Field(
        "ramp", description=f"what happens: {_NAMES}"
    )
    for_: Annotated[Duration | Literal["auto"] | None, NoDecode, PlainValidator(_parse_length)] = (
        Field(
            None,
            alias="for",
            description="how long users come, such as 90s; auto is as long as the scenario takes;"
            " without it, until Ctrl-C",
        )
    )
    sweep: CliImplicitFlag[bool] = Field(
        default=False,
        description="double the users from level to level, and look for the load at which the"
        " promise breaks",
    )
    out: Path | None = Field(
        None, description="folder for the summary as JSON and as a picture (PNG)"
    )
    seed: int = Field(0, description="of all that is random")
    slo: DemoSloSettings = DemoSloSettings()
    listen: ListenAddress = Field(
        Listen("127.0.0.1", 0), description="of the proxy, or of the server with --server-only"
    )
    admin_listen: ListenAddress = Field(
        Listen("127.0.0.1", 0), description="of the proxy's admin listener"
    )
    server_only: CliImplicitFlag[bool] = Field(
        default=False, description="run the simulated inference server alone"
    )

    def options(self) -> DemoOptions:
        """Return what `run_demo` takes."""
        scenario = SCENARIOS[self.scenario]
        chosen = {"ttft_ns": self.slo.ttft, "itl_ns": self.slo.itl, "stall_ns": self.slo.stall}
        limits = replace(
            scenario.limits,
            **{name: int(limit) for name, limit in chosen.items() if limit is not None},
        )
        duration_s = None
        if self.for_ == "auto":
            duration_s = None if self.sweep else scenario.duration_s
        elif self.for_ is not None:
            duration_s = self.for_.seconds
        return DemoOptions(
            scenario=replace(scenario, limits=limits),
            duration_s=duration_s,
            seed=self.seed,
            sweep=self.sweep,
            out=self.out,
            server_only=self.server_only,
            listen=str(self.listen),
            admin_listen=str(self.admin_listen),
        )
