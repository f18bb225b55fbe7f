"""The container, and that the proxy which it runs understands what it is told."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from goodput_proxy.kubernetes.container import (
    DEFAULT_ADMIN_PORT,
    DEFAULT_PORT,
    Sidecar,
    build_container,
)
from goodput_proxy.kubernetes.options import SidecarOptions
from goodput_proxy.kubernetes.plan import plan
from goodput_proxy.kubernetes.pods import workload_of
from goodput_proxy.presets import PRESETS
from goodput_proxy.settings import Settings
from tests.kubernetes.samples import workload
from tests.kubernetes.schemas import VERSIONS, validate

ROOT = Path(__file__).parents[2]
SIDECARS = [
    Sidecar(),
    Sidecar(native=False),
    Sidecar(config_map="slo", flags=("slo.ttft=300ms", "slo.itl=none")),
    Sidecar(run_as_user=65532, port=1, admin_port=65535, upstream="https://localhost:8443"),
]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("sidecar", SIDECARS)
def test_kubernetes_knows_every_field(sidecar: Sidecar, version: str) -> None:
    """The container is valid in a pod, as an init container and as a plain one."""
    kind = "initContainers" if sidecar.native else "containers"
    spec = {"containers": [{"name": "server"}], kind: [build_container(sidecar)]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": spec}

    assert validate(pod, version)


@pytest.mark.parametrize("mode", ["native", "classic"])
def test_the_proxy_understands_its_arguments(mode: str, tmp_path: Path) -> None:
    """Every flag that any option leads to is one of the proxy's, and means what was wished."""
    limits: dict[str, object] = {"preset": next(iter(PRESETS)), "ttft": "300ms", "itl": "none"}
    limits |= {"stall": "2s", "e2e": "1m", "objective": 0.99}
    options = SidecarOptions.model_validate(
        {"mode": mode, "slo": limits, "config": "slo", "workers": 4}
    )
    found = workload_of(workload())
    assert found is not None
    command, *arguments = build_container(plan(found, options).sidecar)["args"]
    file = tmp_path / "goodput.yaml"
    file.write_text("{}")
    arguments = [a.replace("/etc/goodput-proxy/goodput.yaml", str(file)) for a in arguments]

    assert command == "serve"
    settings = Settings.load(arguments)
    assert str(settings.upstream) == "http://127.0.0.1:8000"
    assert (settings.listen.port, settings.admin_listen.port) == (9000, 9001)
    assert settings.workers == 4
    assert settings.slo.model_dump(mode="json") == limits | {"itl": None}
    assert str(settings.drain.delay) == ("5s" if mode == "classic" else "0s")


def test_ports_are_those_of_the_proxy() -> None:
    """Where nothing is said, the sidecar listens where the proxy does anywhere else."""
    assert Settings().listen.port == DEFAULT_PORT
    assert Settings().admin_listen.port == DEFAULT_ADMIN_PORT


def test_probes_that_hold_something_up_do_not_ask_for_the_server() -> None:
    """A start-up probe that waited for the server, which starts after it, would never pass."""
    container = build_container(Sidecar())

    for name in ("startupProbe", "livenessProbe"):
        assert container[name]["httpGet"] == {"path": "/healthz", "port": DEFAULT_ADMIN_PORT}
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"


@pytest.mark.parametrize(
    ("annotations", "requests", "limits"),
    [
        ({}, ("200m", "128Mi"), ("1", "512Mi")),
        ({"workers": "4"}, ("800m", "128Mi"), ("4", "512Mi")),
        ({"workers": "4", "resources.cpu-limit": "2"}, ("800m", "128Mi"), ("2", "512Mi")),
    ],
)
def test_cores_follow_the_workers(
    annotations: dict[str, str], requests: tuple[str, str], limits: tuple[str, str]
) -> None:
    """A worker that had to share its core would delay tokens; what is said is stronger."""
    found = workload_of(workload(annotations={"inject": "true", **annotations}))
    assert found is not None
    resources = build_container(plan(found, SidecarOptions()).sidecar)["resources"]

    assert resources == {
        "requests": dict(zip(("cpu", "memory"), requests, strict=True)),
        "limits": dict(zip(("cpu", "memory"), limits, strict=True)),
    }


def test_port_names_fit() -> None:
    """Kubernetes allows 15 characters."""
    names = [port["name"] for port in build_container(Sidecar())["ports"]]

    assert names == ["goodput", "goodput-admin"]
    assert max(map(len, names)) <= 15


def test_the_kustomize_component_adds_this_container() -> None:
    """Whoever uses the component gets what `inject` gives, to the last field."""
    component = yaml.safe_load((ROOT / "kustomize/sidecar/kustomization.yaml").read_text())
    (patch,) = [
        found
        for entry in component["patches"]
        if isinstance(found := yaml.safe_load(entry["patch"]), dict)
    ]
    template = patch["spec"]["template"]

    assert component["kind"] == "Component"
    assert template["spec"]["initContainers"] == [build_container(Sidecar())]
    assert template["metadata"]["labels"] == {"goodput-proxy.dev/sidecar": "true"}
