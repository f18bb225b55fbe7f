"""The webhook as the API server meets it: over TLS, with a certificate that is renewed."""

from __future__ import annotations

import asyncio
import base64
import json
from contextlib import asynccontextmanager
from io import BytesIO
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
import yaml

from goodput_proxy.kubernetes import credentials
from goodput_proxy.kubernetes.injection import Rejected, inject
from goodput_proxy.kubernetes.options import SidecarOptions
from goodput_proxy.kubernetes.pods import workload_of
from goodput_proxy.kubernetes.selection import Selection
from goodput_proxy.kubernetes.settings import WebhookSettings
from goodput_proxy.kubernetes.webhook import MAX_BODY_BYTES, PATH, Webhook
from goodput_proxy.settings import ConfigError
from tests.certificates import Mount, authority, client_context, issue
from tests.kubernetes.samples import P, workload
from tests.kubernetes.test_manifests import MANIFESTS, all_objects, read
from tests.kubernetes.test_review import patched, review
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

HOST = "127.0.0.1"


def settings(mount: Mount, **more: Any) -> WebhookSettings:
    """Return settings with the files of a mounted secret."""
    return WebhookSettings.model_validate({"tls": mount.settings, "listen": f"{HOST}:0", **more})


@pytest.fixture
def mount(tmp_path: Path) -> Mount:
    """Return a mounted secret."""
    return Mount(tmp_path / "tls", issue(HOST))


@asynccontextmanager
async def serving(mount: Mount, **more: Any) -> AsyncIterator[Webhook]:
    """Run a webhook."""
    webhook = Webhook(settings(mount, **more))
    await webhook.start()
    try:
        yield webhook
    finally:
        await webhook.stop()


async def test_a_pod_is_patched(mount: Mount) -> None:
    """The API server's request is answered with the patch, and the options are the flags'."""
    async with (
        serving(mount, image="registry/image:1") as webhook,
        aiohttp.ClientSession() as client,
    ):
        trust = client_context()
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


def pods() -> dict[str, dict[str, Any]]:
    """Return the pods that the workloads of all manifests make, each asking for the sidecar."""
    found = {}
    for path in MANIFESTS:
        for data in all_objects(read(path)):
            workload = workload_of(data)
            if workload is None or workload.whole:  # KServe makes its pods in ways of its own
                continue
            pod = {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {
                    "generateName": f"{workload.name}-",
                    "labels": workload.pod_labels,
                    "annotations": {**workload.annotations, f"{P}inject": "true"},
                },
                "spec": workload.spec,
            }
            found[f"{path.stem}/{workload}"] = pod
    return found


async def test_pods_of_real_manifests_become_what_inject_makes(mount: Mount) -> None:
    """Over TLS, for every pod of every manifest: the same result, or the same refusal."""
    made, refused = [], []
    async with serving(mount) as webhook, aiohttp.ClientSession() as client:
        for name, pod in pods().items():
            url, trust = webhook.url + PATH, client_context()
            async with client.post(url, json=review(pod), ssl=trust) as response:
                answered = (await response.json())["response"]
            assert answered["allowed"] is True
            try:
                outcome = inject([("pod", yaml.safe_dump(pod))], Selection(), SidecarOptions())
            except Rejected as rejected:
                (problem,), (warning,) = rejected.problems, answered["warnings"]
                assert problem.endswith(
                    warning.partition(f"/{pod['metadata']['generateName']} ")[2]
                ), name
                refused.append(name)
                continue
            patch = json.loads(base64.b64decode(answered["patch"]))
            assert patched(pod, patch) == yaml.safe_load(outcome.texts[0]), name
            made.append(name)

    assert len(made) >= 15
    assert refused


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
async def test_what_is_no_review_is_refused(mount: Mount, body: bytes, status: int) -> None:
    """Other bodies get an error, with a bound on what is read."""
    async with (
        serving(mount) as webhook,
        aiohttp.ClientSession() as client,
        client.post(webhook.url + PATH, data=BytesIO(body), ssl=client_context()) as response,
    ):
        assert response.status == status


async def test_a_renewed_certificate_is_served(mount: Mount) -> None:
    """New connections get the new certificate; half a renewal changes nothing."""

    async def serial(webhook: Webhook) -> str:
        port = int(webhook.url.rpartition(":")[2])
        _, writer = await asyncio.open_connection(HOST, port, ssl=client_context())
        certificate: str = writer.get_extra_info("peercert")["serialNumber"]
        writer.close()
        await writer.wait_closed()
        return certificate

    async with serving(mount) as webhook:
        first = await serial(webhook)
        mount.swap_files(b"-----BEGIN CERTIFICATE-----", b"", authority())
        for _ in range(2):  # files are read when they stand still
            webhook.credentials.refresh()
        assert await serial(webhook) == first
        mount.swap(issue(HOST))
        for _ in range(2):
            webhook.credentials.refresh()
        assert await serial(webhook) != first


async def test_files_are_watched(mount: Mount, monkeypatch: pytest.MonkeyPatch) -> None:
    """A renewal is noticed by itself."""
    monkeypatch.setattr(credentials, "LOOK_S", 0.001)
    async with serving(mount) as webhook:
        before = webhook.credentials.context.current
        mount.swap(issue(HOST))
        await eventually(lambda: webhook.credentials.context.current is not before)


def test_a_certificate_that_cannot_be_read(mount: Mount) -> None:
    """Without a certificate nothing is started; the problem names the setting."""
    with pytest.raises(ConfigError, match=r"tls\.cert: is required"):
        Webhook(WebhookSettings.model_validate({}))
    mount.path("tls.key").unlink()
    with pytest.raises(ConfigError, match=r"tls\.key: cannot read"):
        Webhook(settings(mount))


async def test_an_address_that_is_taken(mount: Mount) -> None:
    """An address that cannot be had is one problem, and nothing is left open."""
    async with serving(mount) as webhook:
        taken = webhook.url.rpartition("/")[2]
        with pytest.raises(ConfigError, match=f"listen: cannot listen on {taken}"):
            await Webhook(settings(mount, listen=taken)).start()
