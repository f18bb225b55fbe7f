"""What cannot be kept is said before the run, in a sentence, and the rest is kept."""

from __future__ import annotations

import io
import sys
from collections import Counter
from importlib import util
from typing import TYPE_CHECKING

import pytest

from goodput_proxy.cli import main
from goodput_proxy.demo.export import Export
from goodput_proxy.demo.outcome import Outcome, Sample, Totals
from goodput_proxy.demo.records import Recount
from goodput_proxy.demo.scenarios import RAMP
from goodput_proxy.demo.terminal import Terminal
from goodput_proxy.demo.verdicts import Verdicts

if TYPE_CHECKING:
    from pathlib import Path


def outcome() -> Outcome:
    verdicts = Verdicts(Counter({("good", ""): 3}))
    totals = Totals([], verdicts, Recount(3, 3, 0, 3.0, 3.0), 0, 0)
    return Outcome([Sample(1.0, 1.0, 4, verdicts, None, None)], totals)


def test_without_pillow_there_is_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One sentence says what is missing and how to get it; the JSON does not need it."""
    monkeypatch.setattr(util, "find_spec", lambda _: None)
    monkeypatch.setattr("goodput_proxy.demo.export.find_spec", lambda _: None)
    out = io.StringIO()
    export = Export.prepare(tmp_path / "new" / "folder", Terminal(out))
    said = out.getvalue()
    assert said.count("\n") == 2  # a sentence and an empty line
    assert "no picture" in said
    assert f"{sys.executable} -m pip install pillow" in said
    export.keep_run(RAMP, 0, outcome())
    assert [path.name for path in (tmp_path / "new/folder").iterdir()] == ["ramp.json"]
    assert out.getvalue().endswith("ramp.json\n")


def test_a_picture_of_a_standstill(tmp_path: Path) -> None:
    """Where nothing was answered there is still something to look at."""
    still = Outcome([Sample(1.0, 1.0, 4, Verdicts(), None, None)], outcome().totals)
    Export.prepare(tmp_path, Terminal(io.StringIO())).keep_run(RAMP, 0, still)
    assert (tmp_path / "ramp.png").stat().st_size > 1_000


def test_nothing_is_kept_unless_wanted() -> None:
    """Without a folder there is not a word of it."""
    out = io.StringIO()
    Export.prepare(None, Terminal(out)).keep_run(RAMP, 0, outcome())
    assert out.getvalue() == ""


def test_a_folder_that_cannot_be(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is known before the run, and the exit code is that of an unusable command line."""
    (tmp_path / "file").write_text("")
    folder = tmp_path / "file" / "folder"
    assert main(["demo", "--for", "1h", "--out", str(folder)]) == 2
    assert capsys.readouterr().err == (
        f"goodput-proxy: out: cannot write {folder}: not a directory;"
        " choose another folder with --out\n"
    )


def test_a_file_that_cannot_be(tmp_path: Path) -> None:
    """What is in the way is named."""
    (tmp_path / "ramp.json").mkdir()
    export = Export.prepare(tmp_path, Terminal(io.StringIO()))
    with pytest.raises(Exception, match=r"out: cannot write .*ramp\.json: is a directory"):
        export.keep_run(RAMP, 0, outcome())
