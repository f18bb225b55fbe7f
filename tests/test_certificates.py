"""Files that are unusable are named, with the remedy; passphrases are never asked for."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives import serialization

from goodput_proxy.certificates import TlsError, believe, read_end_s, show
from tests.certificates import authority, issue

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Return a folder with good files and bad ones."""
    leaf, other = issue(), issue()
    key = serialization.load_pem_private_key(leaf.private_key_pem.bytes(), None)
    encrypted = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )
    for name, content in {
        "cert": leaf.cert_chain_pems[0].bytes(),
        "key": leaf.private_key_pem.bytes(),
        "both": leaf.private_key_and_cert_chain_pem.bytes(),
        "other": other.private_key_pem.bytes(),
        "encrypted": encrypted,
        "ca": "# für Prüfungen\n".encode() + authority().cert_pem.bytes(),
        "empty": b"",
        "garbage": b"\x00\xff garbage",
        "torn": leaf.cert_chain_pems[0].bytes()[:200],
        "torn_key": leaf.private_key_pem.bytes()[:100],
    }.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "folder").mkdir()
    return tmp_path


def context() -> ssl.SSLContext:
    """Return a context in which nothing is loaded."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)


@pytest.mark.parametrize(("cert", "key"), [("cert", "key"), ("both", None), ("both", "key")])
def test_a_pair(files: Path, cert: str, key: str | None) -> None:
    """Certificate and key may be in one file or in two."""
    show(context(), "listen_tls", files / cert, files / key if key else None)
    assert read_end_s("listen_tls.cert", files / cert) > 10**9


@pytest.mark.parametrize(
    ("cert", "key", "problem"),
    [
        ("none", "key", "cert: cannot read {}/none: no such file or directory; check the path"),
        ("folder", "key", "cert: {0}/folder is a directory: name the file in it, such as {0}/fo"),
        ("key", "cert", "cert: {}/key holds no certificate in PEM"),
        ("empty", "key", "cert: {}/empty holds no certificate in PEM"),
        ("garbage", "key", "cert: {}/garbage holds no certificate in PEM"),
        ("torn", "key", "cert: {}/torn and its key are no use: "),
        ("cert", None, "cert: {}/cert holds no private key: name the key's file with listen_tls.k"),
        ("cert", "none", "key: cannot read {}/none: no such file or directory; check the path"),
        ("cert", "folder", "key: {}/folder is a directory"),
        ("cert", "ca", "key: {}/ca holds no private key: it must be in PEM"),
        ("cert", "torn_key", "cert: {}/cert and its key are no use: "),
        ("cert", "other", "key: {0}/other is not the key of the certificate in {0}/cert: both mus"),
        ("cert", "encrypted", "key: the key in {}/encrypted is encrypted: store it without a pass"),
    ],
)
def test_an_unusable_pair(files: Path, cert: str, key: str | None, problem: str) -> None:
    """The message names the setting, the file, and what to do."""
    with pytest.raises(TlsError) as caught:
        show(context(), "listen_tls", files / cert, files / key if key else None)

    assert str(caught.value).startswith("listen_tls." + problem.format(files))


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("none", "cannot read {}/none: no such file"),
        ("folder", "{}/folder is a directory"),
        ("empty", "{}/empty holds no certificate in PEM"),
        ("garbage", "{}/garbage holds no certificate in PEM"),
        ("torn", "{}/torn holds no usable certificate in PEM: "),
        ("key", "{}/key holds no certificate in PEM"),
    ],
)
def test_unusable_authorities(files: Path, name: str, problem: str) -> None:
    """The same holds for authorities."""
    with pytest.raises(TlsError) as caught:
        believe(context(), "upstream_tls.ca", files / name)

    assert str(caught.value).startswith("upstream_tls.ca: " + problem.format(files))


def test_authorities(files: Path) -> None:
    """Authorities may stand among comments in any script."""
    into = context()
    believe(into, "upstream_tls.ca", files / "ca")

    assert len(into.get_ca_certs()) == 1


def test_a_certificate_that_is_gone(files: Path) -> None:
    """A certificate may vanish between two reads."""
    with pytest.raises(TlsError, match=r"^listen_tls.cert: .*/none cannot be read: "):
        read_end_s("listen_tls.cert", files / "none")
