"""Files that change: in place, by renaming, and as Kubernetes swaps them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from goodput_proxy.watch import FileWatch

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def write(path: Path) -> None:
    path.write_text("other, and longer")


def rename(path: Path) -> None:
    new = path.with_suffix(".new")
    new.write_text(path.read_text())  # the same text, another file
    new.replace(path)


def remove(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("change", [write, rename, remove])
def test_a_change_is_noticed_once(tmp_path: Path, change: Callable[[Path], None]) -> None:
    """It is told when the file stands still again, and then no more."""
    path = tmp_path / "config.yaml"
    path.write_text("text")
    watch = FileWatch([path])
    assert not watch.settled()
    change(path)
    assert [watch.settled() for _ in range(4)] == [False, True, False, False]


def test_a_file_that_is_being_written_is_left_alone(tmp_path: Path) -> None:
    """As long as it changes between two looks nothing is told."""
    path = tmp_path / "config.yaml"
    watch = FileWatch([path])
    for size in range(1, 5):
        path.write_text("a" * size)
        assert not watch.settled()
    assert watch.settled()


def test_a_config_map(tmp_path: Path) -> None:
    """Its name leads over `..data` into a directory that is swapped as a whole."""
    for version in ("1", "2"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "config.yaml").write_text("same size")
    data, path = tmp_path / "..data", tmp_path / "config.yaml"
    data.symlink_to("1")
    path.symlink_to("..data/config.yaml")
    watch = FileWatch([path])
    assert not watch.settled()
    (tmp_path / "new").symlink_to("2")
    (tmp_path / "new").replace(data)
    assert [watch.settled() for _ in range(3)] == [False, True, False]


def test_any_of_several(tmp_path: Path) -> None:
    """A pair of files changes when one of them does."""
    paths = [tmp_path / "tls.crt", tmp_path / "tls.key"]
    watch = FileWatch(paths)
    paths[1].write_text("key")
    assert [watch.settled() for _ in range(3)] == [False, True, False]
