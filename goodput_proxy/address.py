"""Where to listen and where the inference server is, as operators write it.

Pure parsing. An upstream is a scheme with a host, or a UNIX socket; a path in it would mean
rewriting requests, which this proxy does not do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import PlainSerializer, PlainValidator, WithJsonSchema
from pydantic_settings import NoDecode

_DEFAULT_PORTS = {"http": 80, "https": 443}
_EVERY_INTERFACE = frozenset(("0.0.0.0", "::"))  # noqa: S104 -- they are looked for
_HERE = frozenset(("127.0.0.1", "::1", "localhost", *_EVERY_INTERFACE))
_UPSTREAM_HELP = "expected http://HOST:PORT, https://HOST:PORT or unix:/PATH"


@dataclass(frozen=True, slots=True)
class Listen:
    """A TCP address to listen on; port 0 takes any free one."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{_bracket(self.host)}:{self.port}"


@dataclass(frozen=True, slots=True)
class Upstream:
    """The inference server: TCP with or without TLS, or a UNIX socket when `path` is set."""

    host: str = ""
    port: int = 0
    tls: bool = False
    path: str = ""

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        return f"{'https' if self.tls else 'http'}://{_bracket(self.host)}:{self.port}"


def parse_listen(value: object) -> Listen:
    """Return the address of `HOST:PORT`; an empty host listens on every interface.

    Raises:
        ValueError: with a message that says what an address looks like.
    """
    if isinstance(value, Listen):
        return value
    host, colon, port = str(value).rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not colon or not _is_port(port) or (":" in host and not bracketed):
        raise ValueError(f"{value!r} is not an address: expected HOST:PORT, such as 0.0.0.0:9000")
    return Listen(host.strip("[]") or "0.0.0.0", int(port))  # noqa: S104 -- what `:9000` means


def parse_upstream(value: object) -> Upstream:
    """Return the parts of an upstream's URL.

    Raises:
        ValueError: with a message that says what a URL looks like.
    """
    if isinstance(value, Upstream):
        return value
    text = str(value)
    if text.startswith("unix:"):
        path = text.removeprefix("unix:")
        path = "/" + path.lstrip("/") if path.startswith("///") else path
        if not path.startswith("/"):
            raise ValueError(f"{value!r} has no absolute path: {_UPSTREAM_HELP}")
        return Upstream(path=path)
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as exc:
        raise ValueError(f"{value!r} is not a URL ({exc}): {_UPSTREAM_HELP}") from None
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
        raise ValueError(f"{value!r} is not an upstream: {_UPSTREAM_HELP}")
    if port == 0 or text.split() != [text]:  # nothing listens on port 0
        raise ValueError(f"{value!r} is not an upstream: {_UPSTREAM_HELP}")
    if parts.username is not None or parts.path not in {"", "/"} or parts.query or parts.fragment:
        # Not repeated: it may hold a password.
        raise ValueError(f"there is more than scheme, host and port: {_UPSTREAM_HELP}")
    return Upstream(parts.hostname, port or _DEFAULT_PORTS[parts.scheme], parts.scheme == "https")


def is_listening_at(listen: Listen, host: str, port: int, *, local: bool = False) -> bool:
    """Return whether a listener surely has an address.

    Args:
        listen: the listener's, with the port that it has got.
        host: an IP address, or a name that nobody has looked up.
        port: the port, 0 for a Unix socket.
        local: the address is known to be one of this host.
    """
    if not port or listen.port != port:
        return False
    if listen.host in _EVERY_INTERFACE:
        return local or host in _HERE
    return host == listen.host


def _bracket(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and int(text) < 65536


_SCHEMA = WithJsonSchema({"type": "string"})
_SERIALIZED = PlainSerializer(str, return_type=str)

ListenAddress = Annotated[Listen, NoDecode, PlainValidator(parse_listen), _SERIALIZED, _SCHEMA]
UpstreamAddress = Annotated[
    Upstream, NoDecode, PlainValidator(parse_upstream), _SERIALIZED, _SCHEMA
]
