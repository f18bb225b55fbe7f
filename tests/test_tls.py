"""TLS contexts are made of what the settings name, and follow the files."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import structlog

from goodput_proxy.certificates import TlsError
from goodput_proxy.metrics import Metrics
from goodput_proxy.policy import build_policy
from goodput_proxy.settings import Settings
from goodput_proxy.tls import Credentials, load_credentials
from tests.certificates import Mount, authority, client_context, issue

if TYPE_CHECKING:
    from pathlib import Path

HTTPS = {"upstream": "https://a"}


def load(**settings: Any) -> tuple[Credentials | None, Credentials | None, Credentials | None]:
    """Load the credentials of settings."""
    policy = build_policy(Settings())
    return load_credentials(Settings(**settings), Metrics(policy, 1))


def listening(**tls: Any) -> tuple[Credentials, Metrics]:
    """Return the credentials of a listener and the metrics in which they show."""
    metrics = Metrics(build_policy(Settings()), 1)
    loaded = load_credentials(Settings(listen_tls=tls), metrics).listen
    assert loaded is not None
    return loaded, metrics


def look(credentials: Credentials) -> None:
    """Look at the files until they stand still."""
    credentials.refresh()
    credentials.refresh()


def shake(server: ssl.SSLContext, client: ssl.SSLContext) -> int:
    """Let two contexts shake hands in memory; return the serial number that the client saw."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(down, up, server_hostname="localhost"),
        server.wrap_bio(up, down, server_side=True),
    ]
    for _ in range(4):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    seen: Any = ends[0].getpeercert()
    return int(seen["serialNumber"], 16)


def sample(metrics: Metrics, name: str, **labels: str) -> float | None:
    """Return a value of the metrics."""
    return metrics.registry.get_sample_value(name, labels)


def reloads(metrics: Metrics) -> tuple[float | None, float | None]:
    """Return how many reloads went well and how many failed."""
    name = "goodput_tls_reloads_total"
    ok, failed = (sample(metrics, name, use="listen_tls", result=r) for r in ("ok", "failed"))
    return ok, failed


def test_no_tls() -> None:
    """Without certificates there is no TLS, and an upstream with TLS needs none."""
    assert load() == (None, None, None)
    upstream, *listeners = load(**HTTPS)
    assert upstream is not None
    assert upstream.context.current.verify_mode is ssl.CERT_REQUIRED
    assert upstream.context.current.check_hostname
    assert listeners == [None, None]


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"listen_tls": {"key": "/a"}}, "listen_tls.key: is of no use alone: name the certifi"),
        ({"admin_listen_tls": {"client_ca": "/a"}}, "admin_listen_tls.client_ca: is of no use alo"),
        ({"upstream_tls": {"ca": "/a"}}, "upstream_tls.ca: is of no use for http://127.0.0.1:8000"),
        (
            {"upstream_tls": {"verify": True}, "upstream": "unix:/s"},
            "upstream_tls.verify: is of no use for unix:/s: name an upstream https://HOST:PORT",
        ),
        (HTTPS | {"upstream_tls": {"key": "/a"}}, "upstream_tls.key: is of no use alone: name the"),
        (HTTPS | {"upstream_tls": {"ca": "/a"}}, "upstream_tls.ca: cannot read /a: no such file"),
        (
            HTTPS | {"upstream_tls": {"ca": "/a", "verify": False}},
            "upstream_tls.ca: is of no use with upstream_tls.verify false: drop one of the two",
        ),
        ({"listen_tls": {"cert": "/a"}}, "listen_tls.cert: cannot read /a: no such file or dire"),
    ],
)
def test_contradictions(settings: dict[str, Any], problem: str) -> None:
    """What makes no sense is an error that names the setting; nothing is half-started."""
    with pytest.raises(TlsError) as caught:
        load(**settings)

    assert str(caught.value).startswith(problem)


def test_no_verification_is_loud() -> None:
    """Whoever switches verification off is told so."""
    with structlog.testing.capture_logs() as logs:
        upstream, *_ = load(**HTTPS, upstream_tls={"verify": False})

    assert upstream is not None
    assert upstream.context.current.verify_mode is ssl.CERT_NONE
    assert [(line["log_level"], line["setting"]) for line in logs] == [
        ("warning", "upstream_tls.verify")
    ]


def test_an_old_certificate_is_served_and_told(tmp_path: Path) -> None:
    """An expired certificate is no reason to serve nobody; it is an error line and a metric."""
    until = datetime.now(UTC) - timedelta(days=1)
    mount = Mount(tmp_path / "tls", issue(until=until))
    with structlog.testing.capture_logs() as logs:
        _, metrics = listening(**mount.settings)

    assert [line["log_level"] for line in logs] == ["error"]
    name = "goodput_tls_certificate_expiry_timestamp_seconds"
    assert sample(metrics, name, use="listen_tls") == int(until.timestamp())


def test_a_new_certificate(tmp_path: Path) -> None:
    """A secret that is swapped is that of the next handshake; nothing happens without a change."""
    first, second = issue(), issue(until=datetime.now(UTC) + timedelta(days=10))
    mount = Mount(tmp_path / "tls", first)
    loaded, metrics = listening(**mount.settings)
    before = shake(loaded.context, client_context())
    used = loaded.context.current
    look(loaded)
    assert loaded.context.current is used
    assert reloads(metrics) == (0, 0)
    mount.swap(second)
    look(loaded)

    assert shake(loaded.context, client_context()) != before
    assert reloads(metrics) == (1, 0)
    ends_s = sample(metrics, "goodput_tls_certificate_expiry_timestamp_seconds", use="listen_tls")
    assert ends_s is not None
    assert ends_s < datetime.now(UTC).timestamp() + 11 * 86400


def test_a_bad_new_certificate_changes_nothing(tmp_path: Path) -> None:
    """What is bad is logged and counted once; the old pair is served until a good one comes."""
    first, second = issue(), issue()
    mount = Mount(tmp_path / "tls", first)
    loaded, metrics = listening(**mount.settings)
    before = shake(loaded.context, client_context())
    cert, key = (leaf.cert_chain_pems[0].bytes() for leaf in (second, second))
    bad = [
        (cert, first.private_key_pem.bytes()),
        (b"", key),
        (cert[:100], second.private_key_pem.bytes()),
    ]
    for times, (new_cert, new_key) in enumerate(bad, start=1):
        mount.swap_files(new_cert, new_key, authority())
        with structlog.testing.capture_logs() as logs:
            look(loaded)
            look(loaded)
        assert [line["log_level"] for line in logs] == ["error"]
        assert "listen_tls." in logs[0]["problem"]
        assert reloads(metrics) == (0, times)
        assert shake(loaded.context, client_context()) == before
    mount.path("..data").unlink()
    look(loaded)
    assert reloads(metrics) == (0, len(bad) + 1)
    assert shake(loaded.context, client_context()) == before
    mount.swap(second)
    look(loaded)

    assert reloads(metrics) == (1, len(bad) + 1)
    assert shake(loaded.context, client_context()) != before
