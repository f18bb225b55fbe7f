"""Every knob of the proxy, read and validated before a socket opens.

A value comes from its flag, else its `GOODPUT_...` environment variable, else the YAML file
that `--config` names, else the default here. The field descriptions are the help text and the
reference documentation. Nothing outside this package reads the environment or a file; only the
certificates that are named here are read by `tls`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Self

from pydantic import Field, ValidationError, ValidationInfo, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from goodput_proxy.address import (
    Listen,
    ListenAddress,
    Upstream,
    UpstreamAddress,
    is_listening_at,
)

from .operation import DrainSettings, LimitSettings, LogSettings, TimeoutSettings
from .promises import MatchSettings, SloClassSettings, SloHeaderSettings, SloSettings
from .sources import ConfigError, YamlFile, describe_error, describe_source
from .tls import ServerTlsSettings, UpstreamTlsSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

# More processes than a proxy beside one server could ever use.
MAX_WORKERS = 64


class CommandSettings(BaseSettings):
    """Settings of a command, which come from its flags before anything else."""

    model_config = SettingsConfigDict(
        cli_avoid_json=True,
        cli_exit_on_error=False,
        cli_hide_none_type=True,
        cli_kebab_case=True,
        env_ignore_empty=True,
        env_nested_delimiter="__",
        env_prefix="GOODPUT_",
        env_prefix_target="all",  # also where an alias stands for a keyword, as `for` does
        extra="forbid",
        frozen=True,
    )

    @classmethod
    def load(cls, arguments: Sequence[str], program: str = "goodput-proxy") -> Self:
        """Return the settings that flags, environment and file make together.

        Raises:
            ConfigError: when any of them is unusable.
        """
        try:
            return cls(_cli_parse_args=list(arguments), _cli_prog_name=program)
        except ValidationError as exc:
            raise ConfigError([describe_error(error) for error in exc.errors()]) from None
        except SettingsError as exc:
            raise ConfigError([describe_source(str(exc))]) from None


class Settings(CommandSettings):
    """Settings of the sidecar."""

    upstream: UpstreamAddress = Field(
        Upstream("127.0.0.1", 8000),
        description="the inference server: http://HOST:PORT, https://HOST:PORT or unix:/PATH",
    )
    listen: ListenAddress = Field(
        Listen("0.0.0.0", 9000),  # noqa: S104 -- a sidecar serves its pod's address
        description="where clients connect",
        validate_default=True,  # the upstream may be there
    )
    admin_listen: ListenAddress = Field(
        Listen("0.0.0.0", 9001),  # noqa: S104
        description="where the live page, /api/v1, /metrics, /healthz and /readyz are served",
    )
    forwarded_headers: bool = Field(
        default=False,
        description="tell the upstream of the client: X-Forwarded-For is appended to,"
        " X-Forwarded-Proto and X-Forwarded-Host are added where they are absent",
    )
    workers: int = Field(
        1,
        ge=1,
        le=MAX_WORKERS,
        description="processes that take requests on the same port, one core each (Linux); with"
        " several, one more process has the metrics and the admin listener",
    )
    config: Path | None = Field(None, description="YAML file with any of these settings")
    slo: SloSettings = SloSettings()
    slo_classes: tuple[SloClassSettings, ...] = Field(
        (), description="classes beside `default`, first match wins (YAML)"
    )
    slo_headers: SloHeaderSettings = SloHeaderSettings()
    limits: LimitSettings = LimitSettings()
    timeouts: TimeoutSettings = TimeoutSettings()
    drain: DrainSettings = DrainSettings()
    listen_tls: ServerTlsSettings = ServerTlsSettings()
    admin_listen_tls: ServerTlsSettings = ServerTlsSettings()
    upstream_tls: UpstreamTlsSettings = UpstreamTlsSettings()
    log: LogSettings = LogSettings()

    @field_validator("listen")
    @classmethod
    def _is_not_the_upstream(cls, listen: Listen, info: ValidationInfo) -> Listen:
        upstream = info.data.get("upstream")
        if upstream is not None and is_listening_at(listen, upstream.host, upstream.port):
            raise ValueError(f"{listen} is the upstream: the proxy would ask itself")
        return listen

    @field_validator("slo_classes")
    @classmethod
    def _have_distinct_names(
        cls, classes: tuple[SloClassSettings, ...]
    ) -> tuple[SloClassSettings, ...]:
        names = [c.name for c in classes]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two classes have the name {name!r}")
        return classes

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Put the YAML file behind the environment; flags are put first by the library."""
        del dotenv_settings, file_secret_settings
        return init_settings, env_settings, YamlFile(settings_cls)


__all__ = [
    "CommandSettings",
    "ConfigError",
    "LimitSettings",
    "LogSettings",
    "MatchSettings",
    "ServerTlsSettings",
    "Settings",
    "SloClassSettings",
    "SloHeaderSettings",
    "TimeoutSettings",
    "UpstreamTlsSettings",
]
