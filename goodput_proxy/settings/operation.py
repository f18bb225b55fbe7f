"""How the proxy behaves whatever it measures: bounds, timeouts, the way it stops, its log."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from goodput_proxy.duration import AnyDuration, Duration, PositiveDuration

from .group import Group


class LimitSettings(Group):
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
    body_bytes: int | None = Field(
        None,
        ge=1,
        description="largest request body; a larger one is answered 413. Without it the server"
        " decides",
    )
    connections: int = Field(
        8192,
        ge=1,
        description="clients' connections at a time, as far as file descriptors allow (two for"
        " each); one more is answered 503",
    )

    @field_validator("body_bytes", mode="before")
    @classmethod
    def _may_be_none(cls, value: object) -> object:
        """Let a flag or a variable, which cannot say null, switch the limit off."""
        return None if value == "none" else value


class TimeoutSettings(Group):
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
    tls_handshake: PositiveDuration = Field(
        Duration.parse("10s"), description="for a client's TLS handshake"
    )
    keepalive: PositiveDuration = Field(
        Duration.parse("75s"), description="for a client's next request, the first included"
    )
    head: PositiveDuration = Field(
        Duration.parse("30s"),
        description="for the rest of a request's head, from its first byte on; then 408",
    )
    upload: PositiveDuration = Field(
        Duration.parse("60s"),
        description="for each further 4 KiB of a request's body; then 408. Time in which the"
        " server does not take it does not count",
    )
    download: PositiveDuration = Field(
        Duration.parse("600s"),
        description="for a client to make room, when it has not read what it was sent; then its"
        " connection is reset",
    )
    upstream_keepalive: PositiveDuration = Field(
        Duration.parse("4s"),
        description="reuse of an idle upstream connection; keep it below the server's own limit,"
        " which is 5 s for uvicorn",
    )
    upstream_age: PositiveDuration = Field(
        Duration.parse("60s"),
        description="reuse of an upstream connection since it was dialled; a new one goes where the"
        " host's name leads by then",
    )


class DrainSettings(Group):
    """What SIGTERM does after `/readyz` has begun to fail."""

    delay: AnyDuration = Field(
        Duration(0), description="go on accepting requests for this long, with Connection: close"
    )
    timeout: AnyDuration = Field(
        Duration.parse("30s"), description="then let running streams finish for this long"
    )


Share = Annotated[float, Field(ge=0, le=1)]
LogLevel = Literal["debug", "info", "warning", "error"]


class LogSettings(Group):
    """Logging to standard error."""

    level: LogLevel = Field("info", description="lowest level that is written")
    json_lines: bool = Field(default=True, description="one JSON object a line; else for reading")
    requests: Share = Field(
        0.0,
        description="share of judged requests that are logged, one line each at `info`: times,"
        " tokens, class, verdict, cause, request id, never content",
    )
    bad_requests: Share = Field(
        0.0, description="the same of those that were not good, where it is the greater"
    )
