"""What can be wrong with JSON that somebody else wrote.

msgspec raises `DecodeError` for syntax and (as `ValidationError`) for types, but lets the
interpreter's own errors through: text that is not UTF-8, and nesting without end.
"""

from __future__ import annotations

import msgspec

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
