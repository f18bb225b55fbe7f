"""Manifests in the shapes that people deploy: there and back, valid, and nothing else touched."""

from __future__ import annotations

import difflib
import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from goodput_proxy.kubernetes.container import Sidecar, build_container
from goodput_proxy.kubernetes.documents import objects, split
from goodput_proxy.kubernetes.injection import inject, uninject
from goodput_proxy.kubernetes.options import SidecarOptions
from goodput_proxy.kubernetes.pods import containers_of, workload_of
from goodput_proxy.kubernetes.routes import route_of
from goodput_proxy.kubernetes.selection import Selection
from tests.kubernetes.schemas import VERSIONS, validate

FOLDER = Path(__file__).parent / "manifests"
MANIFESTS = sorted(FOLDER.glob("*.yaml"))
# What is selected by flags; everything else asks by its annotations.
SELECTIONS = {
    "exported.json.yaml": Selection(everything=True),
    "jobs.yaml": Selection(everything=True),
    "list.yaml": Selection(kind="deployment", name="llamacpp"),
    "nim.yaml": Selection(kind="StatefulSet"),
    "ollama.yaml": Selection(labels={"app.kubernetes.io/name": "ollama"}),
    "tgi.yaml": Selection(name="tgi"),
}
# Who gets the sidecar, in front of which server, and which routes lead to which port then.
EXPECTED: dict[str, tuple[dict[str, str], dict[str, list[object]]]] = {
    "exported.json.yaml": ({"lmdeploy": "23333"}, {"lmdeploy": [9000]}),
    "jobs.yaml": ({"evaluate": "8000", "nightly": "8000"}, {}),
    "kserve_custom.yaml": ({"qwen": "8080"}, {}),
    "kserve_model.yaml": ({"llama": "8080"}, {}),
    "leader_worker_set.yaml": ({"vllm": "8080"}, {"vllm-leader": [9000]}),
    "line_ends.yaml": ({"windows": "8000"}, {}),
    "list.yaml": ({"llamacpp": "8080"}, {"llamacpp": [9000]}),
    "llm_d.yaml": ({"pd-decode": "8000", "pd-prefill": "8000"}, {"pd": [9000]}),
    "llm_d_pool_alpha.yaml": ({"sim": "8000"}, {"sim": [9000]}),
    "nim.yaml": ({"nim-llm": "8000"}, {"nim-llm": [9000]}),
    "ollama.yaml": ({"ollama": "11434"}, {"ollama": [9000], "ollama-0": [9000]}),
    "plain_deployment.yaml": (
        {"chat-model": "8000"},
        {"chat-model": [9000, 9400], "other": [8000]},
    ),
    "pod.yaml": ({"vllm-": "8000"}, {}),
    "policies.yaml": ({"vllm": "8000"}, {"vllm": [9000]}),
    "production_stack.yaml": (
        {"stack-llama3-deployment-vllm": "8000"},
        {
            "stack-router-service": [8000],
            "stack-llama3-engine-service": [9000, "zmq-port", "ucx-port"],
        },
    ),
    "sglang_host_network.yaml": ({"sglang": "30000"}, {"sglang": [31000]}),
    "tgi.yaml": ({"tgi": "80"}, {"tgi": [9000]}),
    "triton.yaml": ({"triton": "8000"}, {"triton": [9000, "grpc", "metrics"]}),
}


def read(path: Path) -> str:
    """Return a manifest with its line ends."""
    return path.read_bytes().decode()


@cache
def injected(path: Path, text: str | None = None) -> str:
    """Return a manifest with the sidecar."""
    selection = SELECTIONS.get(path.name, Selection())
    source = (path.name, read(path) if text is None else text)
    (result,) = inject([source], selection, SidecarOptions()).texts
    return result


@cache
def all_objects(text: str) -> list[dict[str, Any]]:
    """Return all objects of a manifest, the items of lists among them."""
    loaded = [document.load() for document in split("test", text)]
    return [data for document in loaded for _, data in objects(document)]


def test_every_manifest_is_expected() -> None:
    """There are enough of them, and each has an expectation."""
    assert len(MANIFESTS) >= 15
    assert {path.name for path in MANIFESTS} == EXPECTED.keys()


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.stem)
def test_there_and_back(path: Path) -> None:
    """A second time changes nothing, and taking out gives every byte back."""
    once = injected(path)

    assert once != read(path)
    assert injected(path, once) == once
    assert uninject([(path.name, once)], Selection()).texts == [read(path)]


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.stem)
def test_what_is_not_concerned_stays(path: Path) -> None:
    """Text is only added, but for the ports that Services lead to; other documents are the same."""
    old, new = read(path), injected(path)
    lines, results = old.splitlines(keepends=True), new.splitlines(keepends=True)
    matcher = difflib.SequenceMatcher(None, lines, results, autojunk=False)
    for kind, begin, end, new_begin, new_end in matcher.get_opcodes():
        before, after = "".join(lines[begin:end]), "".join(results[new_begin:new_end])
        if kind == "replace" and not re.search(r"targetPort|number:", before):
            rest = iter(after)  # flow style, JSON, or a last line without an end
            assert all(character in rest for character in before)
        assert kind != "delete"
    for original, result in zip(split("old", old), split("new", new), strict=True):
        if "goodput-proxy" not in result.text:
            assert original.text == result.text


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.stem)
def test_result_is_valid(path: Path, version: str) -> None:
    """Kubernetes itself knows every field, in the newest four versions."""
    checked = [validate(data, version) for data in all_objects(injected(path))]

    assert any(checked)


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.stem)
def test_who_gets_the_sidecar(path: Path) -> None:
    """Those who asked have the sidecar in front of the server, and Services lead to it."""
    servers: dict[str, str] = {}
    routes: dict[str, list[object]] = {}
    for data in all_objects(injected(path)):
        if (workload := workload_of(data)) and workload.injected:
            (sidecar,) = [
                container
                for container in containers_of(workload.spec)
                if container["name"] in {"goodput-proxy", "transformer-container"}
            ]
            (upstream,) = [a for a in sidecar["args"] if a.startswith("--upstream=")]
            servers[workload.name] = upstream.rpartition(":")[2]
        if route := route_of(data):
            routes[route.data["metadata"]["name"]] = [target.value for target in route.targets]

    assert (servers, routes) == EXPECTED[path.name]


def test_the_container_is_the_one_that_is_built() -> None:
    """What stands in the text is what the one function gives."""
    found = all_objects(injected(FOLDER / "policies.yaml"))
    (deployment,) = [data for data in found if data["kind"] == "Deployment"]

    assert deployment["spec"]["template"]["spec"]["initContainers"] == [build_container(Sidecar())]


def test_json_stays_json() -> None:
    """An export in JSON is JSON afterwards: the file may be fed to what reads nothing else."""
    items = json.loads(injected(FOLDER / "exported.json.yaml"))["items"]

    assert items[0]["spec"]["template"]["spec"]["initContainers"] == [
        build_container(Sidecar(upstream="http://127.0.0.1:23333"))
    ]
