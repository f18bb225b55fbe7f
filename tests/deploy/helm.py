"""Helm's own engine on the project's chart.

Only this file knows the library that brings the engine: it is young, and the program `helm` could
take its place here.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from helm_python import HelmError, HelmValuesError, chart

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "helm" / "goodput-proxy"
EXAMPLES = sorted((CHART / "ci").glob("*-values.yaml"))
NAMESPACE = "models"
# What findings of its linter are worth.
WARNING = 2

__all__ = ["CHART", "EXAMPLES", "NAMESPACE", "ROOT", "HelmValuesError"]


@dataclass(frozen=True)
class Release:
    """What Helm would hand to a cluster.

    Args:
        texts: by path of the template.
    """

    texts: dict[str, str]

    @property
    def objects(self) -> list[dict[str, Any]]:
        """All objects, in the order of their templates."""
        documents = (
            document
            for path, text in sorted(self.texts.items())
            if path.endswith(".yaml")
            for document in yaml.load_all(text, Loader=yaml.CSafeLoader)
        )
        return [document for document in documents if document is not None]

    @property
    def notes(self) -> str:
        """What is told to whoever has installed it."""
        (text,) = (text for path, text in self.texts.items() if path.endswith("NOTES.txt"))
        return text

    def of_kind(self, kind: str) -> list[dict[str, Any]]:
        """Return the objects of a kind."""
        return [each for each in self.objects if each["kind"] == kind]

    def one(self, kind: str) -> dict[str, Any]:
        """Return the only object of a kind."""
        (found,) = self.of_kind(kind)
        return found


@cache
def _load(path: Path) -> chart.Chart:
    return chart.Chart.load(path)


def render(values: dict[str, Any], path: Path = CHART, name: str = "gp") -> Release:
    """Render a chart as `helm install NAME` does.

    Raises:
        HelmValuesError: when the schema refuses the values; any other HelmError: when a template
            fails.
    """
    return Release(_load(path).render(values, name=name, namespace=NAMESPACE))


def refusal(values: dict[str, Any]) -> str:
    """Return what Helm says to values that are not to be rendered."""
    try:
        render(values)
    except HelmValuesError as exc:
        return str(exc)
    raise AssertionError(f"{values} were rendered")


def failure(values: dict[str, Any], path: Path) -> str:
    """Return what Helm says of a template that fails."""
    try:
        render(values, path)
    except HelmError as exc:
        return str(exc)
    raise AssertionError(f"{values} were rendered")


def lint(values: dict[str, Any], kube_version: str) -> list[str]:
    """Return the warnings and errors of `helm lint --strict`."""
    report = chart.lint(CHART, values, strict=True, namespace=NAMESPACE, kube_version=kube_version)
    found = [m["error"] for m in report["messages"] if m["severity"] >= WARNING]
    return [*found, *report["errors"]]


def package(directory: Path) -> Path:
    """Package the chart as `helm package` does, and return the archive."""
    return Path(chart.package(CHART, destination=directory))


def example(path: Path) -> dict[str, Any]:
    """Return the values of a file."""
    values: dict[str, Any] = yaml.safe_load(path.read_text())
    return values
