"""Write the dashboards: `python tools/dashboards [--check]`.

What `grafana/` holds comes from here, one JSON file a dashboard. `--check` writes nothing and exits
1 when a file is stale, or is there and should not be. Each query names metrics of the proxy or what
`prometheus/rules.yaml` records; the tests ask all of them of a real Prometheus.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from overview import OVERVIEW
from proxy import PROXY

FOLDER = Path(__file__).resolve().parents[2] / "grafana"


def main() -> int:
    """Write or check the files; return the exit code."""
    check = "--check" in sys.argv[1:]
    wanted = {
        FOLDER / f"{name}.json": json.dumps(content, indent=2, sort_keys=True) + "\n"
        for name, content in (("overview", OVERVIEW), ("proxy", PROXY))
    }
    stray = set(FOLDER.glob("*.json")) - set(wanted)
    stale = [p for p, text in wanted.items() if not p.exists() or p.read_text("utf-8") != text]
    if check and (stale or stray):
        names = ", ".join(sorted(path.name for path in (*stale, *stray)))
        sys.stderr.write(f"stale: {names}; run `make dashboards`\n")
        return 1
    if not check:
        for path in stray:
            path.unlink()
        for path in stale:
            path.write_text(wanted[path], "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
