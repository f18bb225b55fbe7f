"""The documents say what the code does."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from goodput_proxy.metrics import Metrics
from goodput_proxy.settings import Settings
from goodput_proxy.slo import build_policy

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def test_reference_pages_are_up_to_date() -> None:
    """The generated parts agree with the settings and the registry."""
    command = [sys.executable, "tools/docs.py", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_metrics_in_the_documents_exist(page: Path) -> None:
    """Every metric that a page names is exported."""
    metrics = Metrics(build_policy(Settings()), 32)
    known = {name for names in metrics.registry._collector_to_names.values() for name in names}
    known |= {f"{name}_{part}" for name in known for part in ("bucket", "count", "sum", "info")}
    named = set(re.findall(r"\bgoodput_(?!proxy\b)[a-z_]+\b", page.read_text()))

    assert named <= known


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link of a page names a file of the project."""
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text())

    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_the_two_commands_stand_at_the_top() -> None:
    """A reader finds how to run and how to test before anything else."""
    top = "\n".join((ROOT / "README.md").read_text().splitlines()[:20])

    assert "make demo" in top
    assert "make test" in top
