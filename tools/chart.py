"""Write what the chart takes over from elsewhere: `python tools/chart.py [--check]`.

A chart cannot read files outside its folder, so rules and dashboards are copied into it. What
`config` in its values may hold is derived from the proxy's settings; the rest of the schema is
written by hand and kept. `--check` writes nothing and exits 1 when a file is stale.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from goodput_proxy.presets import PRESETS
from goodput_proxy.settings import Settings

ROOT = Path(__file__).parent.parent
CHART = ROOT / "helm" / "goodput-proxy"
SCHEMA = CHART / "values.schema.json"
DASHBOARDS = CHART / "files" / "dashboards"

# The chart says these with flags, which are stronger: in `config` they would do nothing, and cores
# would not follow the workers. The probes speak HTTP, so TLS on the admin port is not for a chart
# to be told in passing; neither is TLS on the other, whose files would have to be mounted.
OF_THE_CHART = {
    *("upstream", "listen", "admin_listen", "config", "workers"),
    *("listen_tls", "admin_listen_tls"),
}
# Limits may be `none`, too.
LIMITS = {"ttft", "itl", "stall", "e2e"}
# How a duration is spelt; errors show it, so it is short. That it is above zero the proxy sees to.
# Not `\d`, which means more digits to some.
DURATION = r"[0-9]+(\.[0-9]+)?(h|m|s|ms|us|ns)"


def schema() -> str:
    """Return the schema of the values with the settings that there are now."""
    content = json.loads(SCHEMA.read_text())
    kept = {
        name: definition
        for name, definition in content["definitions"].items()
        if not name[0].isupper()
    }
    settings = Settings.model_json_schema(ref_template="#/definitions/{model}")
    derived = settings.pop("$defs") | {"Settings": settings}
    for name in OF_THE_CHART:
        del settings["properties"][name]
    del derived["ServerTlsSettings"]
    content["definitions"] = kept | {name: _plain(derived[name]) for name in sorted(derived)}
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _plain(definition: dict[str, Any]) -> dict[str, Any]:
    """Return an object's schema in draft-07, so plain that its errors can be read."""
    properties = {
        name: _plain_property(name, part) for name, part in definition["properties"].items()
    }
    plain = {"type": "object", "additionalProperties": False, "properties": properties}
    if "required" in definition:
        plain["required"] = definition["required"]
    return plain


def _plain_property(name: str, found: dict[str, Any]) -> dict[str, Any]:
    """Return a property without its default, and without the choice between a type and null.

    Helm takes a null for the wish to remove a value, so it never arrives; and of a choice the
    error would name every branch.
    """
    found = dict(found)
    if "$ref" in found:  # nothing beside a reference counts in draft-07
        return {"$ref": found["$ref"]}
    for part in found.pop("anyOf", ()):
        if part != {"type": "null"}:
            found |= part
    for word in ("default", "title", "format"):
        found.pop(word, None)
    if found.get("pattern", "").endswith("(h|m|s|ms|us|ns)$"):
        found["pattern"] = f"^{DURATION}$"
        found["description"] += "; a number with a unit, such as 500ms, 1.5s or 2m"
    if name in LIMITS:
        found["pattern"] = f"^(none|{DURATION})$"
    elif name == "preset":
        found["enum"] = sorted(PRESETS)
    elif name == "headers":
        found["additionalProperties"] = False
    return found


def outputs() -> dict[Path, str]:
    """Return every file that is written, with its content."""
    copies = {CHART / "files" / "rules.yaml": ROOT / "prometheus" / "rules.yaml"}
    copies |= {DASHBOARDS / path.name: path for path in sorted((ROOT / "grafana").glob("*.json"))}
    return {target: source.read_text() for target, source in copies.items()} | {SCHEMA: schema()}


def main(arguments: list[str]) -> int:
    """Write the files, or say which are stale."""
    written = outputs()
    stale = [
        path for path, text in written.items() if not path.is_file() or path.read_text() != text
    ]
    stray = [path for path in DASHBOARDS.glob("*") if path not in written]
    if "--check" in arguments:
        for path in (*stale, *stray):
            sys.stderr.write(f"{path.relative_to(ROOT)} is stale: run `make chart`\n")
        return 1 if stale or stray else 0
    for path in stray:
        path.unlink()
    for path in stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(written[path])
        sys.stdout.write(f"{path.relative_to(ROOT)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
