"""Every knob of the proxy, read and validated before a socket opens.

A value comes from its flag, else its `GOODPUT_...` environment variable, else the YAML file
that `--config` names, else the default here. The field descriptions below are the help text
and the reference documentation. Nothing outside this file reads the environment or a file.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from .address import Listen, ListenAddress, Upstream, UpstreamAddress
from .duration import AnyDuration, Duration, PositiveDuration
from .slo import DEFAULT_CLASS, Limits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic.fields import FieldInfo

Objective = Annotated[float, Field(gt=0, lt=1)]
# What RFC 9110 allows in a header's name.
HeaderName = Annotated[str, Field(pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")]


class ConfigError(Exception):
    """The settings are unusable; `problems` has one line each, naming the field."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


class _Group(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _LimitsGroup(_Group):
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


class MatchSettings(_Group):
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


class LimitSettings(_Group):
    """Bounds on what a request may make the proxy hold."""

    models: int = Field(
        32, ge=1, le=1000, description="distinct values of the label model; then `other`"
    )
    record_bytes: int = Field(
        24 * 1024, ge=16 * 1024, description="largest record of a stream that is looked into"
    )
    body_copy_bytes: int = Field(
        512 * 1024,
        ge=1024,
        description="largest JSON answer that is looked into",
    )
    body_scan_bytes: int = Field(
        32 * 1024 * 1024,
        ge=1024,
        description="largest request body that is searched for what it asks; nothing is kept of"
        " one above 64 KiB but its short fields",
    )
    head_bytes: int = Field(64 * 1024, ge=1024, description="largest request or response head")


class TimeoutSettings(_Group):
    """How long the proxy waits."""

    connect: PositiveDuration = Field(
        Duration.parse("5s"), description="for a connection to the upstream"
    )
    idle: PositiveDuration = Field(
        Duration.parse("600s"), description="for the next byte of an answer, the first included"
    )
    tunnel: PositiveDuration = Field(
        Duration.parse("1h"),
        description="for the next byte of either side after an upgrade, as to a WebSocket",
    )
    keepalive: PositiveDuration = Field(
        Duration.parse("75s"), description="for a client's next request"
    )
    upstream_keepalive: PositiveDuration = Field(
        Duration.parse("4s"),
        description="reuse of an idle upstream connection; keep it below the server's own limit,"
        " which is 5 s for uvicorn",
    )


class DrainSettings(_Group):
    """What SIGTERM does after `/readyz` has begun to fail."""

    delay: AnyDuration = Field(
        Duration(0), description="go on accepting requests for this long, with Connection: close"
    )
    timeout: AnyDuration = Field(
        Duration.parse("30s"), description="then let running streams finish for this long"
    )


LogLevel = Literal["debug", "info", "warning", "error"]


class LogSettings(_Group):
    """Logging to standard error."""

    level: LogLevel = Field("info", description="lowest level that is written")
    json_lines: bool = Field(default=True, description="one JSON object a line; else for reading")


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
            raise ConfigError([_describe(error) for error in exc.errors()]) from None
        except SettingsError as exc:
            raise ConfigError([_describe_source(str(exc))]) from None


class Settings(CommandSettings):
    """Settings of the sidecar."""

    upstream: UpstreamAddress = Field(
        Upstream("127.0.0.1", 8000),
        description="the inference server: http://HOST:PORT, https://HOST:PORT or unix:/PATH",
    )
    listen: ListenAddress = Field(
        Listen("0.0.0.0", 9000),  # noqa: S104 -- a sidecar serves its pod's address
        description="where clients connect",
    )
    admin_listen: ListenAddress = Field(
        Listen("0.0.0.0", 9001),  # noqa: S104
        description="where /metrics, /healthz and /readyz are served",
    )
    config: Path | None = Field(None, description="YAML file with any of these settings")
    slo: SloSettings = SloSettings()
    slo_classes: tuple[SloClassSettings, ...] = Field(
        (), description="classes beside `default`, first match wins (YAML)"
    )
    limits: LimitSettings = LimitSettings()
    timeouts: TimeoutSettings = TimeoutSettings()
    drain: DrainSettings = DrainSettings()
    log: LogSettings = LogSettings()

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
        return init_settings, env_settings, _YamlFile(settings_cls)


class _YamlFile(PydanticBaseSettingsSource):
    """The file that a stronger source named with `config`."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Satisfy the interface: this source reads whole files."""
        del field
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        name = self.current_state.get("config")
        if name is None:
            return {}
        try:
            content = yaml.safe_load(Path(name).read_text(encoding="utf-8"))
        except OSError as exc:
            raise ConfigError([f"config: cannot read {name}: {exc.strerror}"]) from None
        except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as exc:
            reason = " ".join(str(exc).split())
            raise ConfigError([f"config: {name} is not YAML: {reason}"]) from None
        if content is None:
            return {}
        if not isinstance(content, dict):
            raise ConfigError([f"config: {name} must hold a mapping of settings"])
        if "config" in content:
            raise ConfigError([f"config: {name} must not name another file"])
        if odd := [key for key in content if not isinstance(key, str)]:
            raise ConfigError([f"{key!r}: unknown setting" for key in odd])
        return content


_REASONS = {
    "extra_forbidden": "unknown setting",
    "missing": "is required",
    "model_type": "must be a mapping",
    "tuple_type": "must be a list",
}
_UNPARSED = re.compile(r'error parsing value for field "(\w+)"')


def _describe(error: Any) -> str:
    """Say in one line which field is wrong and why."""
    field = ".".join(str(part) for part in error["loc"])
    if error["type"] in _REASONS:
        return f"{field}: {_REASONS[error['type']]}"
    message = error["msg"].removeprefix("Value error, ")
    value = error["input"]
    if isinstance(value, str | int | float) and repr(value) not in message:
        message = f"{message} (got {value!r})"
    return f"{field}: {message[0].lower()}{message[1:]}"


def _describe_source(message: str) -> str:
    """Say in one line what could not even be taken apart."""
    if unparsed := _UNPARSED.match(message):
        return f"{unparsed[1]}: must be JSON"
    return message.removeprefix("error parsing CLI: ")


__all__ = ["ConfigError", "MatchSettings", "Settings"]
