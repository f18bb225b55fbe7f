"""Certificates, keys and authorities from files into a TLS context.

What is wrong with a file is said in one line that names the setting, the file and the remedy. No
passphrase is ever asked for, and no content of a key is ever repeated.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from pathlib import Path


_BEGIN = b"-----BEGIN CERTIFICATE-----"


class TlsError(Exception):
    """A file is unusable; the message names the setting, what is wrong and what to do."""


def show(context: ssl.SSLContext, use: str, cert: Path | None, key: Path | None) -> None:
    """Load the own certificate and its key, if there is one.

    Raises:
        TlsError: when a file is unusable, or the two do not belong together.
    """
    if cert is None:
        return
    held = _read(f"{use}.cert", cert)
    if _BEGIN not in held:
        raise TlsError(f"{use}.cert: {cert} holds no certificate in PEM")
    key_setting = f"{use}.cert" if key is None else f"{use}.key"
    held = held if key is None else _read(key_setting, key)
    if b"PRIVATE KEY-----" not in held:
        remedy = f"name the key's file with {use}.key" if key is None else "it must be in PEM"
        raise TlsError(f"{key_setting}: {key or cert} holds no private key: {remedy}")
    try:
        context.load_cert_chain(cert, key, password=_refuse_passphrase)
    except _PassphraseWanted:
        text = "is encrypted: store it without a passphrase, in a secret"
        raise TlsError(f"{key_setting}: the key in {key or cert} {text}") from None
    except ssl.SSLError as exc:
        if exc.reason in {"KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH"}:
            text = f"is not the key of the certificate in {cert}: both must come from one issue"
            raise TlsError(f"{key_setting}: {key or cert} {text}") from None
        raise TlsError(f"{use}.cert: {cert} and its key are no use: {_reason(exc)}") from None
    except OSError as exc:  # gone between two reads
        raise TlsError(f"{use}.cert: cannot read {cert} or its key: {exc.strerror}") from None


def believe(context: ssl.SSLContext, setting: str, path: Path) -> None:
    """Load the authorities whose certificates are believed.

    Raises:
        TlsError: when the file is unusable.
    """
    held = _read(setting, path)
    if _BEGIN not in held:
        raise TlsError(f"{setting}: {path} holds no certificate in PEM")
    try:
        context.load_verify_locations(cadata=held.decode("ascii", "ignore"))  # comments may be any
    except ssl.SSLError as exc:
        text = f"holds no usable certificate in PEM: {_reason(exc)}"
        raise TlsError(f"{setting}: {path} {text}") from None


def read_end_s(setting: str, path: Path) -> int:
    """Return when a certificate ends, in seconds of the epoch.

    Raises:
        TlsError: when the file is unusable.
    """
    try:
        # The standard library can read a certificate in no other way than this, which it tests
        # itself by, or from a peer.
        certificate = cast("Any", ssl)._ssl._test_decode_cert(str(path))
        return ssl.cert_time_to_seconds(certificate["notAfter"])
    except (OSError, ValueError) as exc:  # gone or changed between two reads, or of a strange date
        raise TlsError(f"{setting}: {path} cannot be read: {exc}") from None


def _read(setting: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except IsADirectoryError:
        text = f"is a directory: name the file in it, such as {path / 'tls.crt'}"
        raise TlsError(f"{setting}: {path} {text}") from None
    except OSError as exc:
        reason = (exc.strerror or str(exc)).lower()
        remedy = "check the path, and that the secret is mounted and readable"
        raise TlsError(f"{setting}: cannot read {path}: {reason}; {remedy}") from None


class _PassphraseWanted(Exception):  # noqa: N818 -- an answer of ours to OpenSSL
    pass


def _refuse_passphrase() -> str:
    """Answer instead of the terminal, at which OpenSSL would ask."""
    raise _PassphraseWanted


def _reason(exc: ssl.SSLError) -> str:
    return (exc.reason or str(exc)).lower().replace("_", " ")
