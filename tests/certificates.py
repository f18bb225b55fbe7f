"""Certificates made for a test, and mounted as Kubernetes mounts a secret."""

from __future__ import annotations

import ssl
from functools import lru_cache
from itertools import count
from typing import TYPE_CHECKING

import trustme

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path


@lru_cache
def authority(name: str = "the") -> trustme.CA:
    """Return an authority; making one costs time, and it has no state that tests could spoil."""
    return trustme.CA(organization_name=f"{name} authority")


def issue(
    *names: str, by: trustme.CA | None = None, until: datetime | None = None
) -> trustme.LeafCert:
    """Return a certificate, for `localhost` and the loopback address if nothing is said."""
    names = names or ("localhost", "127.0.0.1")
    return (by or authority()).issue_cert(*names, not_after=until)


class Mount:
    """A secret in a directory, swapped as a whole: the files are links into what `..data` names."""

    def __init__(self, folder: Path, certificate: trustme.LeafCert) -> None:
        self._folder = folder
        self._versions = count()
        folder.mkdir(parents=True)
        self.swap(certificate)
        for name in ("tls.crt", "tls.key", "ca.crt"):
            (folder / name).symlink_to(f"..data/{name}")

    @property
    def settings(self) -> dict[str, str]:
        """The group of settings that names certificate and key."""
        return {"cert": str(self.path("tls.crt")), "key": str(self.path("tls.key"))}

    def path(self, name: str) -> Path:
        """Return where a file is mounted."""
        return self._folder / name

    def swap(self, certificate: trustme.LeafCert, ca: trustme.CA | None = None) -> None:
        """Put another certificate with its key and its authority in place, in one step."""
        chain = b"".join(blob.bytes() for blob in certificate.cert_chain_pems)
        self.swap_files(chain, certificate.private_key_pem.bytes(), ca or authority())

    def swap_files(self, cert: bytes, key: bytes, ca: trustme.CA) -> None:
        """Put other files in place, in one step."""
        version = self._folder / f"..{next(self._versions)}"
        version.mkdir()
        (version / "tls.crt").write_bytes(cert)
        (version / "tls.key").write_bytes(key)
        (version / "ca.crt").write_bytes(ca.cert_pem.bytes())
        link = self._folder / "..data_tmp"
        link.symlink_to(version.name)
        link.rename(self._folder / "..data")


def server_context(
    certificate: trustme.LeafCert | None = None, *, client_ca: trustme.CA | None = None
) -> ssl.SSLContext:
    """Return the context of a server, which wants its clients' certificates if told by whom."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    (certificate or issue()).configure_cert(context)
    if client_ca is not None:
        client_ca.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_context(
    certificate: trustme.LeafCert | None = None, *, ca: trustme.CA | None = None
) -> ssl.SSLContext:
    """Return the context of a client, which shows a certificate if it has one."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    (ca or authority()).configure_trust(context)
    if certificate is not None:
        certificate.configure_cert(context)
    return context
