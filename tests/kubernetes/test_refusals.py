"""What is refused and why: each of these would be a rollout that does not end."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from goodput_proxy.kubernetes.injection import Rejected, inject, uninject
from goodput_proxy.kubernetes.options import SidecarOptions
from goodput_proxy.kubernetes.selection import Selection
from tests.kubernetes.samples import ALL, RECORD, SERVER, P, run, service, workload

KSERVE = {"apiVersion": "serving.kserve.io/v1beta1", "kind": "InferenceService"}
KSERVE_STANDARD = {"annotations": {"serving.kserve.io/deploymentMode": "Standard"}, "name": "llm"}
ANOTHER = {"name": "s", "ports": [{"containerPort": 1}]}
POLICY = {
    "apiVersion": "networking.k8s.io/v1",
    "kind": "NetworkPolicy",
    "metadata": {"name": "closed"},
    "spec": {"podSelector": {}, "ingress": [{"ports": [{"port": 8000}]}]},
}


def declaring(*ports: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return a workload with a second container that declares ports."""
    return workload(containers=[SERVER, {"name": "other", "ports": list(ports), **more}])


def lws(size: int | None) -> dict[str, Any]:
    """Return a LeaderWorkerSet whose leaders are made as workers are."""
    template = workload()["spec"]["template"]
    spec = {"leaderWorkerTemplate": {"size": size, "workerTemplate": template}}
    kind = {"apiVersion": "leaderworkerset.x-k8s.io/v1", "kind": "LeaderWorkerSet"}
    return kind | {"metadata": {"name": "llm"}, "spec": spec}


def kserve(metadata: dict[str, Any], **predictor: Any) -> dict[str, Any]:
    """Return an InferenceService that asks for the sidecar."""
    annotations = {f"{P}inject": "true"}
    return KSERVE | {
        "metadata": metadata,
        "spec": {"predictor": {"annotations": annotations, **predictor}},
    }


def with_annotations(**annotations: str) -> dict[str, Any]:
    """Return a workload whose pods ask for the sidecar and say more."""
    named = {key.replace("__", ".").replace("_", "-"): value for key, value in annotations.items()}
    return workload(annotations={"inject": "true", **named})


REFUSALS: list[tuple[list[dict[str, Any]], dict[str, Any], str]] = [
    ([workload(annotations={"inject": "yes"})], {}, 'must be "true" or "false" (got \'yes\')'),
    ([with_annotations(slo__ttfb="1s")], {}, "slo.ttfb: unknown setting; there are container, "),
    ([with_annotations(image__x="1s")], {}, "image: input should be a valid string"),
    ([with_annotations(image__x__y="1s")], {"image": "x"}, "image.x.y: unknown setting"),
    ([with_annotations(slo__ttft="500")], {}, "slo.ttft: '500' has no unit"),
    ([with_annotations(slo__preset="fast")], {}, "annotation goodput-proxy.dev/slo.preset: "),
    ([with_annotations(slo__ttft="0s")], {}, "slo.ttft: must be above zero"),
    ([with_annotations(listen_port="99999")], {}, "listen-port: input should be less"),
    ([with_annotations(upstream="unix:/s")], {}, "a unix socket is not in reach"),
    ([workload(containers=[])], {}, "has no containers"),
    ([workload(containers=[])], {"port": "1"}, "has no containers"),
    ([workload(containers=[{"name": "a"}])], {}, "declares no port (containers: a): name the"),
    ([declaring({"containerPort": 81})], {}, "declares several ports (server:8000, other:81)"),
    ([declaring({"containerPort": 81})], {"port": "grpc"}, "has no port named 'grpc'"),
    ([workload()], {"port": "70000"}, "it must be from 1 to 65535"),
    ([workload()], {"container": "x"}, "has no container 'x'; there are server: name one with"),
    ([declaring({"containerPort": 9000})], {"port": "8000"}, "uses port 9000 in container other"),
    ([declaring({"containerPort": 9001})], {"port": "8000"}, "choose another with --admin-port"),
    (
        [declaring({"containerPort": 81, "name": "goodput"})],
        {"port": "8000"},
        "has a port named goodput in container other",
    ),
    ([workload()], {"listen_port": 9001}, "listen-port and admin-port both at 9001"),
    ([workload()], {"port": "9001"}, "has its server on port 9001, where the sidecar would"),
    ([workload(hostNetwork=True)], {}, "is on the host's network"),
    ([workload(hostNetwork=True)], {"listen_port": 31000}, "is on the host's network"),
    ([workload("Job", group="batch/v1")], {"mode": "classic"}, "comes to an end by itself"),
    ([workload("Pod", restartPolicy="Never")], {"mode": "classic"}, "use --mode native"),
    (
        [workload(containers=[SERVER, {"name": "goodput-proxy"}])],
        {},
        "has a container goodput-proxy that this command did not add",
    ),
    (
        [workload(volumes=[{"name": "goodput-proxy-config"}])],
        {"config": "slo"},
        "has a volume goodput-proxy-config already",
    ),
    ([workload(labels={f"{P}sidecar": "true"})], {}, "but no sidecar; remove the label"),
    ([workload(initContainers={})], {}, "has initContainers that are not a list"),
    ([lws(2)], {}, "has no leaderTemplate"),
    ([kserve({"name": "llm"}, model={})], {}, "may run under Knative"),
    ([kserve(KSERVE_STANDARD, model={}, workerSpec={})], {}, "is a multi-node predictor"),
    (
        [workload(), workload(name="two", annotations={}), service()],
        {},
        "Service/llm leads to Deployment/llm and to Deployment/two, which has no sidecar on port",
    ),
    (
        [workload(), with_annotations(listen_port="9100") | {"metadata": {"name": "b"}}, service()],
        {},
        "Service/llm leads to several workloads (Deployment/llm (server:8000), Deployment/b",
    ),
    (
        [workload(), workload(name="b", containers=[ANOTHER]), service()],
        {},
        "cannot be reached on one port",
    ),
    ([workload(), POLICY], {}, "NetworkPolicy/closed does not admit it; add it there"),
    (
        [workload() | {"spec": {"template": {"metadata": {
            "annotations": {f"{P}inject": "true", "prometheus.io/port": "1"}
        }, "spec": {"containers": [SERVER]}}}}],
        {"scrape": "annotations"},
        "has the annotation prometheus.io/port already",
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("objects", "options", "reason"), REFUSALS, ids=[r for _, _, r in REFUSALS]
)
def test_what_would_not_work_is_refused(
    objects: list[dict[str, Any]], options: dict[str, Any], reason: str
) -> None:
    """The problem names the file, the document, the object, the reason and what to do."""
    with pytest.raises(Rejected) as caught:
        run(*objects, **options)

    (problem,) = caught.value.problems
    assert problem.startswith("in.yaml, document ")
    assert reason in problem


@pytest.mark.parametrize(
    "objects",
    [
        [lws(1)],
        [kserve(KSERVE_STANDARD, model={"ports": [{"containerPort": 3000}]})],
        [kserve(KSERVE_STANDARD, containers=[{"name": "kserve-container"}])],
        [workload(), POLICY | {"spec": {"podSelector": {"matchLabels": {"app": "x"}}}}],
        [workload(), POLICY | {"spec": {"podSelector": {}, "ingress": [{}]}}],
        [workload(), POLICY | {"spec": {"podSelector": {}, "policyTypes": ["Egress"]}}],
        [
            workload(),
            POLICY | {"spec": {"podSelector": {}, "ingress": [{"ports": [{"port": "goodput"}]}]}},
        ],
        [workload("Job", group="batch/v1", restartPolicy="Never")],
    ],
)
def test_what_would_work_is_not_refused(objects: list[dict[str, Any]]) -> None:
    """The refusals are no wider than their reasons."""
    _, outcome = run(*objects)

    assert "sidecar on port 9000 in front of" in outcome.notes[0]


def test_all_problems_are_told_at_once() -> None:
    """Who has ten manifests to repair is not sent back ten times."""
    with pytest.raises(Rejected) as caught:
        run(workload(containers=[]), workload(name="b", hostNetwork=True))

    first, second = caught.value.problems
    assert first.startswith("in.yaml, document 1 (line 1): Deployment/llm has no containers")
    assert second.startswith("in.yaml, document 2 (line ")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "kind: Deployment\na: b: c\n",
            "is not YAML: mapping values are not allowed here (line 3)",
        ),
        ("kind: Pod\na: \x01\n", "is not YAML: "),
        ("kind: Pod\na: " + "[" * 1000, "is not YAML: "),
    ],
)
def test_what_is_not_yaml(text: str, reason: str) -> None:
    """A document that concerns us must be YAML; the line is that of the file."""
    with pytest.raises(Rejected) as caught:
        inject([("in", f"---\n{text}")], Selection(), SidecarOptions())

    assert caught.value.problems[0].startswith("in, document 1 (line 1) " + reason)


@pytest.mark.parametrize("text", ["a: b: c\n", "{{ if }}\n", "a: !x y\n", "", "# nothing\n", "[]"])
def test_what_does_not_concern_us_need_not_be_yaml(text: str) -> None:
    """A document without a kind that we know is never looked into."""
    assert inject([("in", text)], ALL, SidecarOptions()).texts == [text]


@pytest.mark.parametrize(
    "record",
    ["", "[]", "{}", '{"version":1,"container":"c"}', '{"version":"1","container":"c","x":1}'],
)
def test_a_record_that_was_edited(record: str) -> None:
    """Without its record a sidecar cannot be taken out by guessing."""
    data = workload()
    data["spec"]["template"]["metadata"]["annotations"][RECORD] = record
    with pytest.raises(Rejected, match="is not what was written there"):
        run(data)


@pytest.mark.parametrize(
    "record", ["", "{}", '{"targets":{"80":"a: b: c"}}', '{"targets":{"80":1}}']
)
def test_a_route_record_that_was_edited(record: str) -> None:
    """The same for a Service."""
    data = service()
    data["metadata"]["annotations"] = {f"{P}original-target-ports": record}
    with pytest.raises(Rejected, match="is not what was written there"):
        uninject([("in", yaml.safe_dump(data))], Selection())
