"""The flags of `goodput-proxy demo`, and how they become its options."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field
from pydantic_settings import CliImplicitFlag, SettingsConfigDict

from goodput_proxy.address import Listen, ListenAddress
from goodput_proxy.duration import Duration, PositiveDuration
from goodput_proxy.settings import CommandSettings

from .run import DemoOptions


class DemoSloSettings(BaseModel):
    """The promise that the demonstration breaks."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    ttft: PositiveDuration = Field(Duration.parse("500ms"), description="limit of TTFT")
    itl: PositiveDuration = Field(Duration.parse("100ms"), description="limit of mean ITL")


class DemoSettings(CommandSettings):
    """Settings of the demonstration."""

    model_config = SettingsConfigDict(env_prefix="GOODPUT_DEMO_")

    for_: PositiveDuration | None = Field(
        None, alias="for", description="how long users come; without it, until Ctrl-C"
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
        return DemoOptions(
            duration_s=None if self.for_ is None else self.for_.seconds,
            seed=self.seed,
            ttft_limit_ns=int(self.slo.ttft),
            itl_limit_ns=int(self.slo.itl),
            server_only=self.server_only,
            listen=str(self.listen),
            admin_listen=str(self.admin_listen),
        )
