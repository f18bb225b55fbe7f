"""docs/kubernetes.md: every command that needs no cluster runs, and prints what the page shows."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from goodput_proxy.kubernetes import names
from goodput_proxy.kubernetes.container import DEFAULT_IMAGE
from goodput_proxy.kubernetes.documents import objects, split
from goodput_proxy.kubernetes.options import SidecarOptions
from goodput_proxy.kubernetes.settings import WebhookSettings
from goodput_proxy.kubernetes.webhook import PATH
from tests.console import commands_of, files_of, prepare, run
from tests.kubernetes.schemas import VERSIONS, validate

PAGE = (Path(__file__).parents[2] / "docs/kubernetes.md").read_text()
FILES = files_of(PAGE)
COMMANDS = commands_of(PAGE)
NO_OBJECTS = {"values.yaml", "clash.yaml", "kustomization.yaml"}
# What stands for the programs that talk to a cluster: they give, or they take.
STANDING_IN = {
    "kubectl": 'case "$*" in get*) cat vllm.yaml;; "apply -f -") cat >applied.yaml;; esac',
    "helm": "cat rendered.yaml",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with the files of the page, and with programs that stand in for others."""
    prepare(tmp_path, FILES, STANDING_IN)
    return tmp_path


def test_there_is_something_to_run() -> None:
    """The page shows files and commands in the form that is looked for."""
    assert len(FILES) >= 9
    assert sum("goodput-proxy inject" in command for command, _ in COMMANDS) >= 15


@pytest.mark.parametrize(("command", "shown"), COMMANDS, ids=[c[:50] for c, _ in COMMANDS])
def test_commands_do_what_the_page_shows(command: str, shown: list[str], folder: Path) -> None:
    """Each command of the page succeeds (or is refused, where that is shown) with these words."""
    if "vllm-goodput.yaml |" in command:
        assert run("goodput-proxy inject vllm.yaml > vllm-goodput.yaml", folder)[0] == 0
    code, said = run(command, folder)

    assert code == (2 if any(line.startswith("goodput-proxy: ") for line in shown) else 0)
    if shown:
        assert said == shown


def test_the_way_back_ends_where_it_began(folder: Path) -> None:
    """The steps that undo give the first file back."""
    (begin,) = [n for n, (c, _) in enumerate(COMMANDS) if "--no-services vllm-goodput" in c]
    for command, _ in COMMANDS[begin - 1 : begin + 2]:
        assert run(command, folder)[0] == 0

    assert (folder / "applied.yaml").read_text() == FILES["vllm.yaml"]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", sorted(FILES.keys() - NO_OBJECTS))
def test_manifests_of_the_page_are_valid(name: str, version: str) -> None:
    """What is there to be pasted is known to Kubernetes."""
    loaded = [document.load() for document in split(name, FILES[name])]
    checked = [validate(data, version) for whole in loaded for _, data in objects(whole)]

    assert any(checked)


def test_every_choice_is_described() -> None:
    """The table has all options and no other, with their defaults where there are fixed ones."""
    table = PAGE.partition("### Choices")[2].partition("\n\nThe server's port")[0]
    first_cells = re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
    described = set(re.findall(r"`([\w.-]+)`", "".join(first_cells)))
    known = set()
    for name, field in SidecarOptions.model_fields.items():
        inner = getattr(field.annotation, "model_fields", {"": None})
        known |= {f"{name}.{part}".rstrip(".").replace("_", "-") for part in inner}

    assert described == known
    assert f"`{DEFAULT_IMAGE}`" in table


def test_the_webhook_of_the_page_would_start() -> None:
    """Its arguments are the command's, and what is registered is what it serves."""
    found: dict[str, Any] = {d["kind"]: d for d in yaml.safe_load_all(FILES["webhook.yaml"])}
    (container,) = found["Deployment"]["spec"]["template"]["spec"]["containers"]
    command, *arguments = container["args"]
    settings = WebhookSettings.load(arguments)
    (webhook,) = found["MutatingWebhookConfiguration"]["webhooks"]

    assert command == "webhook"
    assert settings.image == container["image"] == DEFAULT_IMAGE
    assert settings.listen.port == container["ports"][0]["containerPort"]
    assert settings.listen.port == found["Service"]["spec"]["ports"][0]["targetPort"]
    assert webhook["clientConfig"]["service"]["path"] == PATH
    assert webhook["failurePolicy"] == "Ignore"
    label = f"{names.PREFIX}webhook"
    assert label in webhook["namespaceSelector"]["matchLabels"]
    assert any(f"{label}=enabled" in shlex.split(command) for command, _ in COMMANDS)
