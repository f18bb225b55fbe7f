"""Noticing that a file has changed, however it is replaced.

Asked once a second, which costs a microsecond per file and works everywhere. What a name leads to
is compared, not the name: a ConfigMap or a Secret of Kubernetes is a symbolic link into a
directory that is swapped as a whole, and an editor may write in place or rename.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_Stamp = tuple[int, int, int, int] | None


class FileWatch:
    """Files that may change together.

    Args:
        paths: of the files; one that is absent may come.
    """

    def __init__(self, paths: Iterable[Path]) -> None:
        self._paths = tuple(paths)
        self._stamps = self._read()
        self._moving = False

    def settled(self) -> bool:
        """Return whether a file has changed, and none any more since this was last asked.

        A file that is being written is half a file: it is left alone until it stands still.
        """
        before, self._stamps = self._stamps, self._read()
        moved, self._moving = self._moving, before != self._stamps
        return moved and not self._moving

    def _read(self) -> tuple[_Stamp, ...]:
        return tuple(_stamp(path) for path in self._paths)


def _stamp(path: Path) -> _Stamp:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
