"""The Kustomize component, built by kubectl's own Kustomize as the docs show it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from goodput_proxy.kubernetes.injection import inject
from goodput_proxy.kubernetes.options import SidecarOptions
from goodput_proxy.kubernetes.selection import Selection
from tests.console import files_of

ROOT = Path(__file__).parents[2]
FILES = files_of((ROOT / "docs" / "kubernetes.md").read_text())
LABEL = "goodput-proxy.dev/sidecar"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with the files of the page, and the project beside them."""
    if shutil.which("kubectl") is None:
        # Not `require_program`: Debian's kubectl is older than components are.
        pytest.skip("kubectl is not installed")
    for name in ("labelled.yaml", "kustomization.yaml"):
        (tmp_path / name).write_text(FILES[name])
    (tmp_path / "goodput-proxy").symlink_to(ROOT)
    return tmp_path


def build(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run Kustomize."""
    command = ["kubectl", "kustomize", "."]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def by_kind(text: str) -> dict[str, Any]:
    """Return objects by their kinds."""
    return {found["kind"]: found for found in yaml.safe_load_all(text)}


def test_it_gives_what_inject_gives(folder: Path) -> None:
    """The objects are the same, but for the record that `--remove` needs."""
    done = build(folder)
    options = SidecarOptions(image="registry.example/goodput-proxy:0.1.0")
    source = ("labelled.yaml", FILES["labelled.yaml"])
    (text,) = inject([source], Selection(everything=True), options).texts
    expected = by_kind(text)
    del expected["Deployment"]["spec"]["template"]["metadata"]["annotations"]
    del expected["Service"]["metadata"]["annotations"]

    assert done.returncode == 0, done.stderr
    assert by_kind(done.stdout) == expected


@pytest.mark.parametrize(
    ("old", "new"),
    [("containerPort: 8000", "containerPort: 8001"), ("targetPort: 8000", "targetPort: http")],
)
def test_another_port_fails_the_build(folder: Path, old: str, new: str) -> None:
    """A sidecar in front of nothing, or a Service that passes it by, is not built."""
    path = folder / "labelled.yaml"
    path.write_text(FILES["labelled.yaml"].replace(old, new))
    done = build(folder)

    assert path.read_text() != FILES["labelled.yaml"]
    assert done.returncode == 1
    assert "test failed" in done.stderr


def test_only_what_has_the_label_is_changed(folder: Path) -> None:
    """Whatever else is built stays as it is."""
    path = folder / "labelled.yaml"
    path.write_text(FILES["labelled.yaml"].replace(f'labels: {{{LABEL}: "true"}}', "labels: {}"))
    built = by_kind(build(folder).stdout)

    assert "initContainers" not in built["Deployment"]["spec"]["template"]["spec"]
    assert built["Service"]["spec"]["ports"] == [{"port": 80, "targetPort": 8000}]
