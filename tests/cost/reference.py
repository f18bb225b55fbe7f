"""What a token and a small request cost when the guard was last renewed, in instructions."""

from __future__ import annotations

import json
from pathlib import Path

REFERENCE = Path(__file__).with_name("reference.json")
RENEW = "make cost ARGS=--write"


def read_reference() -> dict[str, dict[str, int]]:
    """Return the counts by the key of their build."""
    if not REFERENCE.exists():
        return {}
    found: dict[str, dict[str, int]] = json.loads(REFERENCE.read_text("utf-8"))
    return found
