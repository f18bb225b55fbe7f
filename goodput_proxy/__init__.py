"""Live goodput of LLM inference, measured on real traffic by a transparent sidecar."""

from __future__ import annotations

__version__ = "0.1.0"
