"""The webhook as the API server meets it: over TLS, with a certificate that is renewed."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import ssl
from contextlib import asynccontextmanager
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
import trustme

from goodput_proxy.kubernetes.certificates import Certificate
from goodput_proxy.kubernetes.settings import WebhookSettings
from goodput_proxy.kubernetes.webhook import MAX_BODY_BYTES, PATH, Webhook
from goodput_proxy.settings import ConfigError
from tests.kubernetes.samples import workload
from tests.kubernetes.test_review import review
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

HOST = "127.0.0.1"


class Authority:
    """Issues certificates into two files, as a mounted Secret has them."""

    def __init__(self, folder: Path) -> None:
        self._ca = trustme.CA()
        self.certificate, self.key = folder / "tls.crt", folder / "tls.key"
        self.renew()

    def renew(self) -> None:
        """Write a new certificate and its key."""
        issued = self._ca.issue_cert(HOST)
        for path, pems in (
            (self.certificate, issued.cert_chain_pems),
            (self.key, [issued.private_key_pem]),
        ):
            new = path.with_suffix(".new")
            new.write_bytes(b"".join(pem.bytes() for pem in pems))
            new.replace(path)

    def trust(self) -> ssl.SSLContext:
        """Return what a client that trusts this authority connects with."""
        context = ssl.create_default_context()
        self._ca.configure_trust(context)
        return context

    def settings(self, **more: Any) -> WebhookSettings:
        """Return settings with the two files."""
        values = {"tls_cert": self.certificate, "tls_key": self.key, "listen": f"{HOST}:0", **more}
        return WebhookSettings.model_validate(values)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """Return an authority with a first certificate."""
    return Authority(tmp_path)


@asynccontextmanager
async def serving(authority: Authority, **settings: Any) -> AsyncIterator[Webhook]:
    """Run a webhook."""
    webhook = Webhook(authority.settings(**settings))
    await webhook.start()
    try:
        yield webhook
    finally:
        await webhook.stop()


async def test_a_pod_is_patched(authority: Authority) -> None:
    """The API server's request is answered with the patch, and the options are the flags'."""
    async with (
        serving(authority, image="registry/image:1") as webhook,
        aiohttp.ClientSession() as client,
    ):
        trust = authority.trust()
        async with client.get(f"{webhook.url}/healthz", ssl=trust) as response:
            assert (response.status, await response.text()) == (200, "ok\n")
        body = review(workload("Pod"))
        async with client.post(webhook.url + PATH, json=body, ssl=trust) as response:
            answered = await response.json()
            assert response.status == 200
        refused = review(workload("Pod", hostNetwork=True))
        async with client.post(webhook.url + PATH, json=refused, ssl=trust) as response:
            assert (await response.json())["response"]["warnings"]

    patch = json.loads(base64.b64decode(answered["response"]["patch"]))
    assert answered["kind"] == "AdmissionReview"
    assert patch[0]["value"][0]["image"] == "registry/image:1"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b"{}", 400),
        (b"\xff", 400),
        (b"[" * 100_000, 400),
        (b" " * (MAX_BODY_BYTES + 1), 413),
    ],
    ids=["cut", "empty", "binary", "deep", "large"],
)
async def test_what_is_no_review_is_refused(authority: Authority, body: bytes, status: int) -> None:
    """Other bodies get an error, with a bound on what is read."""
    async with (
        serving(authority) as webhook,
        aiohttp.ClientSession() as client,
        client.post(webhook.url + PATH, data=BytesIO(body), ssl=authority.trust()) as response,
    ):
        assert response.status == status


async def test_a_renewed_certificate_is_served(authority: Authority) -> None:
    """New connections get the new certificate; half a renewal changes nothing."""

    async def serial(webhook: Webhook) -> str:
        port = int(webhook.url.rpartition(":")[2])
        _, writer = await asyncio.open_connection(HOST, port, ssl=authority.trust())
        certificate: str = writer.get_extra_info("peercert")["serialNumber"]
        writer.close()
        await writer.wait_closed()
        return certificate

    async with serving(authority) as webhook:
        first = await serial(webhook)
        assert not webhook.certificate.refresh()
        key = authority.key.read_bytes()
        authority.renew()
        renewed = authority.key.read_bytes()
        authority.key.write_bytes(key)
        assert not webhook.certificate.refresh()
        assert await serial(webhook) == first
        authority.key.write_bytes(renewed)
        assert webhook.certificate.refresh()
        assert await serial(webhook) != first
        authority.key.unlink()
        assert not webhook.certificate.refresh()


async def test_files_are_watched(authority: Authority) -> None:
    """A renewal is noticed by itself."""
    certificate = Certificate(authority.certificate, authority.key)
    before = certificate.renewals
    watch = asyncio.create_task(certificate.watch(every_s=0.001))
    authority.renew()
    await eventually(lambda: certificate.renewals > before)
    watch.cancel()


def test_a_certificate_that_cannot_be_read(authority: Authority) -> None:
    """Without a certificate nothing is started; the problem names the settings."""
    authority.key.write_text("no key")
    with pytest.raises(ConfigError, match="tls_cert, tls_key: cannot be used"):
        Webhook(authority.settings())
    with pytest.raises(ConfigError, match="No such file"):
        Webhook(authority.settings(tls_cert=Path(os.devnull).parent / "no such file"))


async def test_an_address_that_is_taken(authority: Authority) -> None:
    """An address that cannot be had is one problem, and nothing is left open."""
    async with serving(authority) as webhook:
        taken = webhook.url.rpartition("/")[2]
        with pytest.raises(ConfigError, match=f"listen: cannot listen on {taken}"):
            await Webhook(authority.settings(listen=taken)).start()
