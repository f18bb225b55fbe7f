"""The containers that the chart makes: those of `inject`, from one source of truth."""

from __future__ import annotations

import base64
import re
import ssl
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
import yaml

from goodput_proxy.kubernetes import names
from goodput_proxy.kubernetes.container import (
    Sidecar,
    build_container,
    build_volume,
    default_limits,
    default_requests,
)
from goodput_proxy.kubernetes.options import SidecarOptions
from goodput_proxy.kubernetes.plan import plan
from goodput_proxy.kubernetes.pods import workload_of
from goodput_proxy.kubernetes.settings import WebhookSettings
from goodput_proxy.kubernetes.webhook import PATH, Webhook
from goodput_proxy.settings import Settings
from tests.deploy.helm import CHART, EXAMPLES, NAMESPACE, ROOT, example, failure, render
from tests.kubernetes.samples import workload
from tests.kubernetes.schemas import VERSIONS, validate

if TYPE_CHECKING:
    from pathlib import Path

# How the docs use the template.
(SHOWN,) = re.findall(
    r"```gotemplate\n(.*?)```", (ROOT / "docs" / "kubernetes.md").read_text(), re.DOTALL
)
# The same in a pod, with what is given to the template left to the test.
POD = "apiVersion: v1\nkind: Pod\n" + SHOWN.replace(
    "metadata:\n", "metadata:\n  name: server\n"
).replace("spec:\n", "spec:\n  containers: [{name: server}]\n")
GIVEN = re.compile(r'\(dict "upstream" .*?\)')
SLO = {"preset": "guidellm/chat", "ttft": "300ms", "itl": "none", "objective": 0.99}
LIMITED = {"requests": {"cpu": "1"}, "limits": {"cpu": "2", "memory": "1Gi"}}
# What is given to the template, and what the same is called in Python.
CASES: list[tuple[dict[str, Any], Sidecar]] = [
    ({}, Sidecar()),
    ({"config": "slo", "image": "a/b:1"}, Sidecar(config_map="slo", image="a/b:1")),
    (
        {"listenPort": 1, "adminPort": 65535, "upstream": "https://localhost:8443"},
        Sidecar(port=1, admin_port=65535, upstream="https://localhost:8443"),
    ),
    (
        {"slo": SLO, "flags": ["log.level=debug"], "runAsUser": 65532},
        Sidecar(
            flags=(*(f"slo.{name}={value}" for name, value in SLO.items()), "log.level=debug"),
            run_as_user=65532,
        ),
    ),
    (
        {"name": "meter", "resources": LIMITED},
        Sidecar(name="meter", requests=LIMITED["requests"], limits=LIMITED["limits"]),
    ),
    (
        {"workers": 3},
        Sidecar(workers=3, requests=default_requests(3), limits=default_limits(3)),
    ),
    (
        {"workers": 3, "resources": {"requests": {"cpu": ""}, "limits": {"memory": "1Gi"}}},
        Sidecar(workers=3, requests={"cpu": "600m"}, limits={"memory": "1Gi"}),
    ),
    # What a native sidecar is told of the grace period changes nothing.
    ({"mode": "native", "terminationGracePeriodSeconds": 600}, Sidecar()),
]


@pytest.fixture
def consumer(tmp_path: Path) -> Path:
    """Return a chart that depends on the project's."""
    (tmp_path / "templates").mkdir()
    (tmp_path / "charts").mkdir()
    (tmp_path / "charts" / "goodput-proxy").symlink_to(CHART)
    (tmp_path / "Chart.yaml").write_text("{apiVersion: v2, name: mine, version: 1.2.3}")
    (tmp_path / "templates" / "pod.yaml").write_text(GIVEN.sub(".Values.meter", POD))
    return tmp_path


@pytest.mark.parametrize(("given", "sidecar"), CASES)
def test_the_template_gives_the_container_of_inject(
    given: dict[str, Any], sidecar: Sidecar, consumer: Path
) -> None:
    """What a chart of somebody's own includes is what `inject` adds, to the last field."""
    pod = render({"meter": given}, consumer).one("Pod")

    assert pod["spec"]["initContainers"] == [build_container(sidecar)]
    assert pod["spec"]["volumes"] == [build_volume("slo")]
    assert pod["metadata"]["labels"] == {names.LABEL: "true"}
    for version in VERSIONS:
        assert validate(pod, version)


def test_the_docs_show_what_works(consumer: Path) -> None:
    """The fragment of the page, as it is, gives a pod with the sidecar and its settings."""
    (consumer / "templates" / "pod.yaml").write_text(POD)
    pod = render({}, consumer).one("Pod")

    assert pod["spec"]["initContainers"] == [build_container(Sidecar(config_map="slo"))]
    assert GIVEN.sub(".Values.meter", POD) != POD


@pytest.mark.parametrize("grace_s", [None, 1, 10, 300])
def test_a_classic_container_drains_as_that_of_inject(grace_s: int | None, consumer: Path) -> None:
    """It is told to stop when the server is, and takes what the grace period leaves it."""
    grace: dict[str, Any] = {} if grace_s is None else {"terminationGracePeriodSeconds": grace_s}
    found = workload_of(workload(**grace))
    assert found is not None
    planned = plan(found, SidecarOptions(mode="classic")).sidecar
    pod = render({"meter": {"mode": "classic", **grace}}, consumer).one("Pod")

    assert pod["spec"]["initContainers"] == [build_container(planned)]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"upstrem": "http://a"}, 'goodput-proxy.sidecar knows no "upstrem"; it knows name, image'),
        (
            {"mode": "nativ"},
            'goodput-proxy.sidecar: mode is "nativ", and must be native or classic',
        ),
    ],
)
def test_the_template_refuses_what_it_does_not_know(
    given: dict[str, Any], words: str, consumer: Path
) -> None:
    """No schema guards what another chart hands over; the template says what is wrong with it."""
    assert words in failure({"meter": given}, consumer)


def test_the_chart_says_what_the_sidecar_is_by_default(consumer: Path) -> None:
    """The values `sidecar` are those of the template, which are those of `inject`."""
    given = example(CHART / "values.yaml")["sidecar"]
    pod = render({"meter": given}, consumer).one("Pod")

    assert pod["spec"]["initContainers"] == [build_container(Sidecar())]


@pytest.mark.parametrize("name", ["standalone", "standalone-tls", "standalone-workers"])
def test_the_standalone_proxy_is_the_same_container(name: str, tmp_path: Path) -> None:
    """In front of a Service runs what runs beside a server, with arguments that it understands."""
    values = example(CHART / "ci" / f"{name}-values.yaml")
    pod = render(values).one("Deployment")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    mounts = container["volumeMounts"][1:]
    container["volumeMounts"] = container["volumeMounts"][:1]
    image = values.get("image", {})
    chosen = values.get("sidecar", {})
    workers = chosen.get("workers", 1)
    sidecar = Sidecar(
        image=f"{image.get('repository', 'goodput-proxy')}:{image.get('tag', '0.1.0')}",
        native=False,
        upstream=values["standalone"]["upstream"],
        workers=workers,
        requests=default_requests(workers),
        limits=default_limits(workers) | chosen.get("resources", {}).get("limits", {}),
        config_map="gp-goodput-proxy",
        flags=tuple(
            f"drain.{part}={seconds}s"
            for part, seconds in (
                ("delay", 5),
                ("timeout", pod["terminationGracePeriodSeconds"] - 8),
            )
        ),
    )
    expected = build_container(sidecar) | {
        "imagePullPolicy": image.get("pullPolicy", "IfNotPresent")
    }

    assert container == expected
    assert mounts == values["standalone"].get("extraVolumeMounts", [])
    assert build_volume("gp-goodput-proxy") in pod["volumes"]
    file = tmp_path / names.CONFIG_KEY
    file.write_text("{}")
    command, *flags = container["args"]
    flags = [flag.replace(f"{names.CONFIG_FOLDER}/{names.CONFIG_KEY}", str(file)) for flag in flags]
    assert command == "serve"
    settings = Settings.load(flags)
    assert str(settings.upstream) == values["standalone"]["upstream"]
    assert settings.workers == workers


WEBHOOKS = [path for path in EXAMPLES if path.name.startswith("webhook")]


@pytest.mark.parametrize("path", WEBHOOKS, ids=lambda path: path.stem)
def test_the_webhook_makes_what_the_values_say(path: Path) -> None:
    """Its arguments are the command's, and lead to the sidecar that `sidecar` describes."""
    values = example(path)
    release = render(values)
    (container,) = release.one("Deployment")["spec"]["template"]["spec"]["containers"]
    command, *arguments = container["args"]
    settings = WebhookSettings.load(arguments)
    found = workload_of(workload())
    assert found is not None
    made = plan(found, settings.options()).sidecar
    (registered,) = release.one("MutatingWebhookConfiguration")["webhooks"]
    service = release.one("Service")
    merged = {**example(CHART / "values.yaml")["sidecar"], **values.get("sidecar", {})}

    assert command == "webhook"
    assert made.image == container["image"]
    assert made.native is (merged["mode"] == "native")
    assert (made.port, made.admin_port) == (merged["listenPort"], merged["adminPort"])
    assert made.workers == merged["workers"]
    asked = {name: text for name, text in merged["resources"]["limits"].items() if text}
    assert made.limits == default_limits(made.workers) | asked
    assert made.config_map == (values["webhook"].get("config") or None)
    limits = values["webhook"].get("slo", {})
    assert made.flags[: len(limits)] == tuple(f"slo.{k}={v}" for k, v in limits.items())
    assert settings.listen.port == service["spec"]["ports"][0]["targetPort"]
    reference = registered["clientConfig"]["service"]
    assert (reference["name"], reference["namespace"]) == (
        service["metadata"]["name"],
        service["metadata"]["namespace"],
    )
    assert reference["path"] == PATH
    assert registered["failurePolicy"] == "Ignore"
    assert registered["namespaceSelector"] == values["webhook"].get(
        "namespaceSelector", {"matchLabels": {"goodput-proxy.dev/webhook": "enabled"}}
    )
    assert release.of_kind("Role") == release.of_kind("ClusterRole") == []


@pytest.mark.parametrize("path", WEBHOOKS, ids=lambda path: path.stem)
def test_the_webhooks_certificate_arrives(path: Path) -> None:
    """It bears the Service's name, is mounted, and the API server is told of its authority."""
    release = render(example(path))
    pod = release.one("Deployment")["spec"]["template"]["spec"]
    (volume,) = pod["volumes"]
    (configuration,) = release.of_kind("MutatingWebhookConfiguration")
    service = release.one("Service")["metadata"]
    if certificates := release.of_kind("Certificate"):
        (certificate,) = certificates
        source = f"{certificate['metadata']['namespace']}/{certificate['metadata']['name']}"
        assert certificate["spec"]["dnsNames"] == [f"{service['name']}.{service['namespace']}.svc"]
        assert certificate["spec"]["secretName"] == volume["secret"]["secretName"]
        annotations = configuration["metadata"]["annotations"]
        assert annotations == {"cert-manager.io/inject-ca-from": source}
        own = {each["metadata"]["name"] for each in release.of_kind("Issuer")}
        assert own in (set(), {certificate["spec"]["issuerRef"]["name"]})
    else:
        assert release.one("Secret")["metadata"]["name"] == volume["secret"]["secretName"]
    assert [mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]] == ["/tls"]


async def test_the_generated_certificate_is_believed(tmp_path: Path) -> None:
    """The webhook serves it, and whoever trusts the registered authority alone connects by name."""
    release = render(example(CHART / "ci" / "webhook-values.yaml"))
    for name, text in release.one("Secret")["data"].items():
        (tmp_path / name).write_bytes(base64.b64decode(text))
    (registered,) = release.one("MutatingWebhookConfiguration")["webhooks"]
    authority = base64.b64decode(registered["clientConfig"]["caBundle"]).decode()
    trust = ssl.create_default_context(cadata=authority)
    host = f"{release.one('Service')['metadata']['name']}.{NAMESPACE}.svc"
    tls = {"cert": tmp_path / "tls.crt", "key": tmp_path / "tls.key"}
    webhook = Webhook(WebhookSettings.model_validate({"tls": tls, "listen": "127.0.0.1:0"}))
    await webhook.start()
    try:
        async with (
            aiohttp.ClientSession() as client,
            client.get(f"{webhook.url}/healthz", ssl=trust, server_hostname=host) as response,
        ):
            assert response.status == 200
    finally:
        await webhook.stop()


def test_what_is_handed_on_is_no_template() -> None:
    """Extra objects are taken as they are written."""
    release = render(example(CHART / "ci" / "bare-values.yaml"))
    (extra,) = [o for o in release.of_kind("ConfigMap") if o["metadata"]["name"] == "extra"]

    assert extra["data"] == {"template": "{{ .Values.notEvaluated }}"}
    assert yaml.safe_load(release.objects[0]["data"].get(names.CONFIG_KEY, "null")) != {}
