"""The flags of `goodput-proxy inject` and `goodput-proxy webhook`."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 -- pydantic looks at it

from pydantic import Field, field_validator
from pydantic_settings import CliImplicitFlag, CliPositionalArg, SettingsConfigDict

from goodput_proxy.address import Listen, ListenAddress
from goodput_proxy.settings import CommandSettings, LogSettings
from goodput_proxy.settings.tls import ServerTlsSettings

from .options import SidecarOptions
from .selection import Selection


class SidecarSettings(CommandSettings, SidecarOptions):
    """Choices for every sidecar; a pod's annotations are stronger."""

    model_config = SettingsConfigDict()

    def options(self) -> SidecarOptions:
        """Return the choices alone, with no more set than was said."""
        known = SidecarOptions.model_fields.keys()
        values = self.model_dump(include=set(known), exclude_unset=True)
        return SidecarOptions.model_validate(values)


class InjectSettings(SidecarSettings):
    """Add the sidecar to Kubernetes manifests, or take it out; notes go to standard error."""

    model_config = SettingsConfigDict(env_prefix="GOODPUT_INJECT_")

    files: CliPositionalArg[list[Path]] = Field(
        [], description="manifests; without any, or with -, standard input"
    )
    all_: CliImplicitFlag[bool] = Field(
        default=False, alias="all", description="inject every workload that says nothing else"
    )
    selector: str | None = Field(
        None, description="inject workloads with these labels: KEY=VALUE, several with commas"
    )
    kind: str | None = Field(None, description="inject workloads of this kind")
    name: str | None = Field(None, description="inject workloads of this name")
    services: CliImplicitFlag[bool] = Field(
        default=True,
        description="lead Services to the sidecar, too; --no-services is the first of two steps"
        " where pods without it are still running",
    )
    remove: CliImplicitFlag[bool] = Field(
        default=False, description="take out what was injected, of all or of those selected"
    )

    @field_validator("selector")
    @classmethod
    def _is_equality(cls, selector: str | None) -> str | None:
        for part in (selector or "").split(",") if selector is not None else ():
            key, equals, value = part.partition("=")
            if not (equals and key.strip()) or value.startswith("=") or key.endswith("!"):
                raise ValueError(f"{selector!r} is no selector: expected KEY=VALUE[,KEY=VALUE]")
        return selector

    def selection(self) -> Selection:
        """Return which workloads the flags mean."""
        pairs = (part.partition("=") for part in (self.selector or "").split(",") if part)
        labels = {key.strip(): value.strip() for key, _, value in pairs}
        return Selection(self.all_, labels, self.kind, self.name)


class WebhookSettings(SidecarSettings):
    """Add the sidecar to the pods that ask for it while they are created."""

    model_config = SettingsConfigDict(env_prefix="GOODPUT_WEBHOOK_")

    listen: ListenAddress = Field(
        Listen("0.0.0.0", 9443),  # noqa: S104 -- the API server comes from elsewhere
        description="where the API server connects",
    )
    tls: ServerTlsSettings = ServerTlsSettings()
    log: LogSettings = LogSettings()
