"""What is injected, where Services lead then, and what is remembered of before."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from goodput_proxy.kubernetes.injection import inject, uninject
from goodput_proxy.kubernetes.options import SidecarOptions
from goodput_proxy.kubernetes.selection import Selection
from tests.kubernetes.samples import ALL, RECORD, SERVER, P, run, service, sidecar, workload

# -- who


@pytest.mark.parametrize(
    ("selection", "annotations", "expected"),
    [
        (Selection(), {}, False),
        (Selection(), {"inject": "true"}, True),
        (Selection(), {"inject": "false"}, False),
        (ALL, {}, True),
        (ALL, {"inject": "false"}, False),
        (Selection(labels={"app": "llm"}), {}, True),
        (Selection(labels={"app": "llm", "tier": "x"}), {}, False),
        (Selection(kind="deployment"), {}, True),
        (Selection(kind="StatefulSet"), {}, False),
        (Selection(name="llm"), {}, True),
        (Selection(name="llm", kind="Pod"), {}, False),
    ],
)
def test_who_is_meant(
    selection: Selection,
    annotations: dict[str, str],
    expected: bool,  # noqa: FBT001 -- a table
) -> None:
    """The annotation is stronger than flags; flags must all fit."""
    (data,), outcome = run(workload(annotations=annotations), selection=selection)

    assert ("initContainers" in data["spec"]["template"]["spec"]) is expected
    assert outcome.notes[0].startswith("Deployment/llm: sidecar" if expected else "nothing")


def test_what_another_object_owns_is_left_alone() -> None:
    """An export of a cluster holds what a Deployment has made, annotations and all."""
    owned = workload("ReplicaSet")
    owned["metadata"]["ownerReferences"] = [{"kind": "Deployment", "name": "llm"}]
    out, _ = run(owned, selection=ALL)

    assert out == [owned]


def test_kinds_of_other_groups_are_left_alone() -> None:
    """A kind is known by its group, too: Knative's Service is none of ours."""
    data = workload(group="example.dev/v1")
    knative = service() | {"apiVersion": "serving.knative.dev/v1"}
    out, _ = run(data, knative, selection=ALL)

    assert out == [data, knative]


@pytest.mark.parametrize("place", ["object", "worker"])
def test_a_wish_in_the_wrong_place_is_pointed_out(place: str) -> None:
    """Who asks on the object, or on what does not serve, is told where the wish belongs."""
    data = workload(annotations={})
    wish = {"annotations": {f"{P}inject": "true"}}
    if place == "object":
        data["metadata"] |= wish
    else:
        template = data["spec"].pop("template")
        data |= {"apiVersion": "leaderworkerset.x-k8s.io/v1", "kind": "LeaderWorkerSet"}
        worker = {"metadata": wish, "spec": {"containers": []}}
        data["spec"]["leaderWorkerTemplate"] = {
            "leaderTemplate": template,
            "workerTemplate": worker,
        }
    out, outcome = run(data)

    assert out == [data]
    assert "it belongs on the pod template" in outcome.notes[0]


# -- what


def test_annotations_refine_flags() -> None:
    """An annotation replaces the flag of its name and leaves the others."""
    annotations = {
        "inject": "true",
        "slo.ttft": "300ms",
        "slo.itl": "none",
        "slo.objective": "0.99",
        "listen-port": "9100",
        "upstream": "https://localhost:8443",
        "config": "slo",
        "resources.memory-limit": "1Gi",
    }
    (data,), _ = run(
        workload(annotations=annotations),
        slo={"ttft": "1s", "stall": "2s"},
        image="registry/image:1",
    )
    container = sidecar(data)

    assert container["image"] == "registry/image:1"
    assert container["args"] == [
        "serve",
        "--upstream=https://localhost:8443",
        "--listen=0.0.0.0:9100",
        "--admin-listen=0.0.0.0:9001",
        "--config=/etc/goodput-proxy/goodput.yaml",
        "--slo.ttft=300ms",
        "--slo.itl=none",
        "--slo.stall=2s",
        "--slo.objective=0.99",
    ]
    assert container["resources"]["limits"]["memory"] == "1Gi"
    volume = {"name": "goodput-proxy-config", "configMap": {"name": "slo"}}
    assert data["spec"]["template"]["spec"]["volumes"] == [volume]


def test_a_plain_container_drains_within_the_grace_period() -> None:
    """It is told to stop when the server is, so it waits for those who still send."""
    (data,), _ = run(workload(terminationGracePeriodSeconds=60), mode="classic")
    container = sidecar(data, "containers")

    assert container["args"][-2:] == ["--drain.delay=5s", "--drain.timeout=52s"]
    assert "restartPolicy" not in container
    assert "startupProbe" not in container


def test_a_guaranteed_pod_stays_guaranteed() -> None:
    """Requests are limits where they are so in all of the pod: its class decides over its cores."""
    sizes = {"cpu": "4", "memory": "8Gi"}
    server = {**SERVER, "resources": {"limits": sizes}}
    (data,), _ = run(workload(containers=[server]))
    resources = sidecar(data)["resources"]

    assert resources["requests"] == resources["limits"]


def test_root_by_default_is_not_inherited() -> None:
    """A pod that makes its containers root would never start one that must not be root."""
    (data,), _ = run(workload(securityContext={"runAsUser": 0}))

    assert sidecar(data)["securityContext"]["runAsUser"] == 65532


def test_scrape_annotations_are_added_and_taken_out() -> None:
    """Prometheus without an operator finds the pod by annotations, if that is wished for."""
    text = yaml.safe_dump(workload())
    options = SidecarOptions(scrape="annotations")
    (once,) = inject([("in", text)], Selection(), options).texts
    annotations = yaml.safe_load(once)["spec"]["template"]["metadata"]["annotations"]

    assert annotations["prometheus.io/port"] == "9001"
    assert uninject([("in", once)], Selection()).texts == [text]


@pytest.mark.parametrize(
    ("port", "containers"),
    [
        ("8000", [SERVER]),
        ("http", [SERVER, {"name": "other", "ports": [{"containerPort": 81}]}]),
        ("8000", [{"name": "server"}]),
    ],
)
def test_a_port_that_is_named(port: str, containers: list[dict[str, Any]]) -> None:
    """A port is named by number or name; a number need not be declared."""
    (data,), _ = run(workload(containers=containers), port=port)

    assert "--upstream=http://127.0.0.1:8000" in sidecar(data)["args"]


def test_a_probe_tells_the_server_from_its_other_ports() -> None:
    """Of several ports the one that is asked for health by HTTP is the API."""
    ports = [{"containerPort": 5557}, {"containerPort": 8000}]
    probe = {"httpGet": {"path": "/health", "port": 8000}}
    (data,), _ = run(workload(containers=[{"name": "s", "ports": ports, "livenessProbe": probe}]))

    assert "--upstream=http://127.0.0.1:8000" in sidecar(data)["args"]


@pytest.mark.parametrize("ports", [None, [{"containerPort": 8000}, {"containerPort": 8001}]])
def test_a_service_tells_the_server_from_its_other_ports(ports: Any) -> None:
    """Where the Service in the same input leads is where requests arrive."""
    (data, led), _ = run(workload(containers=[{"name": "s", "ports": ports}]), service())

    assert "--upstream=http://127.0.0.1:8000" in sidecar(data)["args"]
    assert led["spec"]["ports"][0]["targetPort"] == 9000


# -- routes


def test_what_services_led_to_is_remembered() -> None:
    """The record on the Service holds each port's target as it was spelled."""
    ports = [
        {"name": "a", "port": 80, "targetPort": "http"},
        {"name": "b", "port": 8000},
        {"name": "c", "port": 8000, "protocol": "UDP"},
        {"name": "d", "port": 81, "targetPort": 8001},
    ]
    (_, led), _ = run(workload(), service(ports=ports))

    assert [port.get("targetPort") for port in led["spec"]["ports"]] == [9000, 9000, None, 8001]
    record = json.loads(led["metadata"]["annotations"][f"{P}original-target-ports"])
    assert record == {"targets": {"80": "http", "8000": None}, "annotations": None}


def test_a_service_elsewhere_is_another_service() -> None:
    """A namespace that both name must be the same; no selector is no match."""
    there = service()
    there["metadata"]["namespace"] = "there"
    here = workload()
    here["metadata"]["namespace"] = "here"
    external = service("external")
    del external["spec"]["selector"]
    out, outcome = run(here, there, external)

    assert out[1:] == [there, external]
    assert "no Service in this input leads to 8000" in outcome.notes[-1]


def test_a_headless_service_is_moved_with_a_warning() -> None:
    """Who resolves a headless name picks the port, so the reader is told which."""
    _, outcome = run(workload(), service(clusterIP="None"))

    assert any("headless" in note and "must choose 9000" in note for note in outcome.notes)


def test_another_version_or_other_options_update() -> None:
    """What is there already is made anew, and what it was before is not forgotten."""
    text = yaml.safe_dump_all([workload(), service()], sort_keys=False)
    (old,) = inject([("in", text)], Selection(), SidecarOptions(image="old")).texts
    old = old.replace('"version":"', '"version":"0.0.')
    (new,) = inject([("in", old)], Selection(), SidecarOptions(image="new", listen_port=9100)).texts
    data, led = yaml.safe_load_all(new)

    assert sidecar(data)["image"] == "new"
    assert led["spec"]["ports"][0]["targetPort"] == 9100
    assert "0.0." not in data["spec"]["template"]["metadata"]["annotations"][RECORD]
    assert uninject([("in", new)], Selection()).texts == [text]


def test_removal_keeps_what_was_added_since() -> None:
    """Lists and maps that were made for the sidecar stay when others have used them."""
    (data,), _ = run(workload())
    data["spec"]["template"]["spec"]["initContainers"].insert(0, {"name": "first"})
    data["spec"]["template"]["metadata"]["labels"]["new"] = "1"
    (text,) = uninject([("in", yaml.safe_dump(data))], Selection()).texts
    template = yaml.safe_load(text)["spec"]["template"]

    assert template["spec"]["initContainers"] == [{"name": "first"}]
    assert template["metadata"]["labels"] == {"app": "llm", "new": "1"}
    assert RECORD not in template["metadata"]["annotations"]


def test_removal_of_one_leaves_the_other() -> None:
    """Flags select what is removed; a Service stays as long as nothing that it leads to goes."""
    other = workload(name="other", labels={"app": "other"})
    led = service("other", selector={"app": "other"})
    text = yaml.safe_dump_all([workload(), service(), other, led], sort_keys=False)
    (both,) = inject([("in", text)], Selection(), SidecarOptions()).texts
    outcome = uninject([("in", both)], Selection(name="llm"))
    found = list(yaml.safe_load_all(outcome.texts[0]))

    assert [RECORD in str(data) for data in found] == [False, False, True, False]
    assert [data["spec"]["ports"][0]["targetPort"] for data in found[1::2]] == [8000, 9000]
    assert outcome.notes == ["Service/llm: restored", "Deployment/llm: restored"]


def test_several_files_are_one_input() -> None:
    """A Service leads to what stands in another file."""
    sources = [("a.yaml", yaml.safe_dump(workload())), ("b.yaml", yaml.safe_dump(service()))]
    texts = inject(sources, Selection(), SidecarOptions()).texts

    assert yaml.safe_load(texts[1])["spec"]["ports"][0]["targetPort"] == 9000


def test_services_may_follow_in_a_second_step() -> None:
    """While pods without a sidecar are running, Services lead past it; the pods are the same."""
    text = yaml.safe_dump_all([workload(), service()], sort_keys=False)
    outcome = inject([("in", text)], Selection(), SidecarOptions(), services=False)
    (first,), (both,) = outcome.texts, inject([("in", text)], Selection(), SidecarOptions()).texts

    assert list(yaml.safe_load_all(first)) == [next(yaml.safe_load_all(both)), service()]
    assert outcome.notes[0] == "Service/llm: left alone; it leads past the sidecar"
    # The way back: first the Services, then the pods.
    assert inject([("in", both)], Selection(), SidecarOptions(), services=False).texts == [first]
