"""What can be chosen about a sidecar: by flags for all of an input, by annotations for one pod.

The names are the same: `--slo.ttft 300ms` is `goodput-proxy.dev/slo.ttft: 300ms`. An annotation
is stronger than a flag. What an annotation says comes from whoever writes the pod, so a name or a
value that is not understood is refused, never guessed.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from goodput_proxy.address import parse_upstream
from goodput_proxy.duration import Duration
from goodput_proxy.presets import check_preset
from goodput_proxy.settings import MAX_WORKERS
from goodput_proxy.settings.sources import describe_error

from . import names
from .container import DEFAULT_ADMIN_PORT, DEFAULT_IMAGE, DEFAULT_PORT
from .tree import Refusal

if TYPE_CHECKING:
    from collections.abc import Mapping


class _Group(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _check_limit(text: str) -> str:
    if text != "none" and Duration.parse(text) == 0:
        raise ValueError("must be above zero")
    return text


def _check_upstream(text: str) -> str:
    if not parse_upstream(text).host:
        raise ValueError(
            "a unix socket is not in reach of another container; give http://HOST:PORT"
        )
    return text


Limit = Annotated[str, AfterValidator(_check_limit)]
Quantity = Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9]+)?(m|[kMGT]i?)?$")]
PortNumber = Annotated[int, Field(ge=1, le=65535)]
# RFC 1123, as for all names of objects.
ObjectName = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$")]


class SloOptions(_Group):
    """The class `default` of the sidecar."""

    preset: Annotated[str, AfterValidator(check_preset)] | None = Field(
        None, description="published limits by name; limits beside it are stronger"
    )
    ttft: Limit | None = Field(None, description="limit of TTFT; none switches it off")
    itl: Limit | None = Field(None, description="limit of mean ITL; none switches it off")
    stall: Limit | None = Field(None, description="limit of the longest pause")
    e2e: Limit | None = Field(None, description="limit until the last token")
    objective: float | None = Field(
        None, gt=0, lt=1, description="share of requests that must meet all limits"
    )


class ResourceOptions(_Group):
    """What the sidecar may use; in a pod of class Guaranteed requests become the limits."""

    cpu_request: Quantity | None = Field(None, description="cores that are set aside")
    cpu_limit: Quantity | None = Field(None, description="cores that can be used")
    memory_request: Quantity | None = Field(None, description="memory that is set aside")
    memory_limit: Quantity | None = Field(None, description="memory that can be used")


class SidecarOptions(_Group):
    """All choices; None leaves one to what the pod says of itself."""

    container: str | None = Field(None, description="name of the server's container")
    port: str | None = Field(None, description="the server's port: its number or its name")
    upstream: Annotated[str, AfterValidator(_check_upstream)] | None = Field(
        None, description="the server's URL, if it is not http://127.0.0.1:PORT"
    )
    image: str = Field(DEFAULT_IMAGE, min_length=1, description="the sidecar's image")
    mode: Literal["native", "classic"] = Field(
        "native",
        description="an init container that stays (Kubernetes 1.29), or a container beside others",
    )
    listen_port: PortNumber = Field(DEFAULT_PORT, description="where the sidecar takes requests")
    admin_port: PortNumber = Field(DEFAULT_ADMIN_PORT, description="where it serves /metrics")
    workers: int = Field(
        1,
        ge=1,
        le=MAX_WORKERS,
        description="processes that take requests, a core each; the defaults of cores follow it",
    )
    slo: SloOptions = SloOptions()
    config: ObjectName | None = Field(
        None, description=f"name of a ConfigMap with the proxy's settings in {names.CONFIG_KEY}"
    )
    resources: ResourceOptions = ResourceOptions()
    scrape: Literal["label", "annotations"] = Field(
        "label",
        description="how Prometheus finds the pod: a label for a PodMonitor, or with it"
        " the annotations prometheus.io/scrape, port and path",
    )

    def refine(self, annotations: Mapping[str, Any]) -> SidecarOptions:
        """Return these options with a pod's own annotations over them.

        Raises:
            Refusal: when an annotation is unknown or its value is unusable.
        """
        values = self.model_dump(exclude_unset=True)
        for name, value in annotations.items():
            if not name.startswith(names.PREFIX) or name in {names.INJECT, names.RECORD}:
                continue
            *groups, field = name.removeprefix(names.PREFIX).replace("-", "_").split(".")
            level: Any = values
            for group in groups:
                level = level.setdefault(group, {}) if isinstance(level, dict) else None
            if not isinstance(level, dict):
                raise Refusal(f"annotation {name}: unknown setting")
            level[field] = value
        try:
            return SidecarOptions.model_validate(values)
        except ValidationError as exc:
            problem = describe_error(exc.errors()[0])
        field, _, reason = problem.partition(": ")
        spelled = re.sub("_", "-", field)
        known = ", ".join(_annotations(SidecarOptions))
        more = f"; there are {known}" if reason == "unknown setting" else ""
        raise Refusal(f"annotation {names.PREFIX}{spelled}: {reason}{more}")

    @property
    def flags(self) -> tuple[str, ...]:
        """The flags of the proxy that these options ask for."""
        limits = self.slo.model_dump(exclude_none=True)
        return tuple(f"slo.{name}={value}" for name, value in limits.items())


def _annotations(model: type[BaseModel], prefix: str = "") -> list[str]:
    found = []
    for name, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            found += _annotations(inner, f"{prefix}{name}.")
        else:
            found.append(prefix + name.replace("_", "-"))
    return found
