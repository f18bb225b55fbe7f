"""TLS on either side of the proxy: which files, and what is asked of the other end."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 -- pydantic looks the types up

from pydantic import Field

from .group import Group


class ServerTlsSettings(Group):
    """TLS on a listener: files in PEM, read again when they change."""

    cert: Path | None = Field(
        None,
        description="the server's certificate with its chain (PEM); with it the listener speaks"
        " HTTPS and nothing else. Read again when it changes, as are the other files",
    )
    key: Path | None = Field(
        None, description="the private key (PEM, no passphrase); default: in the file of `cert`"
    )
    client_ca: Path | None = Field(
        None,
        description="authorities (PEM); a client must show a certificate that one of them signed",
    )


class UpstreamTlsSettings(Group):
    """TLS to an `https://` upstream."""

    ca: Path | None = Field(
        None,
        description="authorities (PEM) that may sign the server's certificate; default: those of"
        " the system",
    )
    cert: Path | None = Field(
        None, description="a certificate with its chain (PEM) to show to the server"
    )
    key: Path | None = Field(
        None, description="its private key (PEM, no passphrase); default: in the file of `cert`"
    )
    server_name: str | None = Field(
        None,
        min_length=1,
        description="the name that the server's certificate must bear, also sent as SNI; default:"
        " the upstream's host",
    )
    verify: bool = Field(
        default=True,
        description="check the server's certificate; without that, whoever can answer at the"
        " upstream's address reads every prompt and every key",
    )
