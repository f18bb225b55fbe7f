"""The files of the page: complete, unchanged where they are not ours, and asking nobody else."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

from goodput_proxy.live import assets

AXE = Path(__file__).parent / "axe" / "axe.min.js"
STATIC = Path(assets.__file__).parent / "static"
OURS = sorted(path for path in STATIC.glob("*") if path.is_file())
TEXT = {path.name: path.read_text("utf-8") for path in OURS}


def test_every_kind_of_file_is_served() -> None:
    """A file whose kind is not known would be missing without a word; licences are not pages."""
    kinds = {path.suffix for path in STATIC.rglob("*") if path.is_file()}

    assert kinds - set(assets._TYPES) == {"", ".md"}


@pytest.mark.parametrize("name", sorted(TEXT))
def test_nothing_is_loaded_from_elsewhere(name: str) -> None:
    """No address of another host stands in what we wrote, but for names of XML dialects."""
    assert re.findall(r"https?://(?!www\.w3\.org/)[^\s\"'`$]*", TEXT[name]) == []


def test_the_page_has_no_code_in_it() -> None:
    """The policy would stop it: no inline script or style, no handler in an attribute."""
    page = TEXT["index.html"]

    assert re.findall(r"<style|\sstyle=|\son\w+=|javascript:", page) == []
    assert re.findall(r"<script(?![^>]*\ssrc=)", page) == []


def test_names_lead_somewhere() -> None:
    """Each file that the page, its scripts and its style name exists."""
    named = re.findall(r'(?:src|href)="live/([^"]+)"', TEXT["index.html"])
    named += [n for name in TEXT for n in re.findall(r'from "\./([^"]+)"', TEXT[name])]

    assert len(named) > 20
    assert [name for name in named if not (STATIC / name).is_file()] == []


def test_elements_that_the_scripts_ask_for_exist() -> None:
    """A renamed element would break the page at its first message."""
    known = set(re.findall(r'\bid="([^"]+)"', TEXT["index.html"]))
    asked = {
        name
        for text in TEXT.values()
        for name in re.findall(r'(?<![.\w])(?:find|setText|toggle)\("([^"]+)"', text)
    }

    assert len(asked) > 15
    assert asked - known == set()


def test_what_is_not_ours_is_unchanged() -> None:
    """Each foreign file has the hash that stands beside its version and licence."""
    table = (STATIC / "vendor" / "README.md").read_text("utf-8")
    noted = dict(re.findall(r"^\| `([^`]+)` \|.*`([0-9a-f]{64})` \|$", table, re.MULTILINE))
    found = {
        path.relative_to(STATIC / "vendor").as_posix(): hashlib.sha256(path.read_bytes())
        for path in (STATIC / "vendor").rglob("*")
        if path.suffix in {".js", ".css"}
    }

    assert noted == {name: digest.hexdigest() for name, digest in found.items()}
    assert (STATIC / "vendor" / "uplot" / "LICENSE").is_file()


def test_axe_is_unchanged() -> None:
    """What judges the page has the hash that stands beside its version."""
    noted = re.findall(r"`([0-9a-f]{64})`", (AXE.parent / "README.md").read_text("utf-8"))

    assert noted == [hashlib.sha256(AXE.read_bytes()).hexdigest()]
