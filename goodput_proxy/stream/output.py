"""What counts as output: any non-empty string, whatever its name, but for labels.

A list of the names that carry text would be wrong the day a server invents the next one for
reasoning (`reasoning`, `reasoning_content`, `reasoning_details`, `thinking` exist already). The
names that carry none are few and stable.

Records too large to be kept are judged by their ends, with the same question asked of bytes.
"""

from __future__ import annotations

import re
from typing import Any

# Names of strings that label, sign or cite, and are not generated.
_NOT_OUTPUT = frozenset(
    (
        *("role", "type", "id", "index", "signature", "thoughtSignature", "expires_at", "format"),
        *("citation", "annotations", "status"),
    )
)
# The beginning of a non-empty string under a name that servers use for output, or of a call or
# of media in one piece. A quote inside JSON text is escaped, so text cannot imitate this.
_OUTPUT = re.compile(
    rb'"(?:content|text|reasoning|reasoning_content|thinking|arguments|partial_json|delta'
    rb'|response|text_output|refusal|transcript|tool_plan|audio)"\s*:\s*"[^"]'
    rb'|"(?:tool_calls|function_call|audio|functionCall|executableCode|inlineData)"'
    rb'\s*:\s*(?:\[\s*)?\{\s*"'
)


def has_text(value: Any) -> bool:
    """Return whether generated text stands anywhere in a decoded value."""
    if isinstance(value, str):
        return value != ""
    if isinstance(value, dict):
        for name, item in value.items():
            if item and name not in _NOT_OUTPUT and has_text(item):
                return True
    elif isinstance(value, list):
        return any(map(has_text, value))
    return False


def shows_text(head: bytes) -> bool:
    """Return whether generated text begins in the first bytes of a record."""
    return _OUTPUT.search(head) is not None


def find_strings(part: bytes, name: bytes) -> list[str]:
    """Return the plain short strings under a name in a part of a record."""
    found: list[bytes] = re.findall(rb'"%b"\s*:\s*"([^"\\]{1,64})"' % name, part)
    return [value.decode("utf-8", "replace") for value in found]


def last_string(tail: bytes, name: bytes) -> str:
    """Return the last plain string under a name near the end of a record, empty without one."""
    found = find_strings(tail, name)
    return found[-1] if found else ""


def first_number(head: bytes, name: bytes) -> int | None:
    """Return the first whole number under a name in a record's beginning, None without one."""
    found = _find_numbers(head, name)
    return int(found[0]) if found else None


def last_number(tail: bytes, name: bytes) -> int | None:
    """Return the last whole number under a name near the end of a record, None without one."""
    found = _find_numbers(tail, name)
    return int(found[-1]) if found else None


def _find_numbers(data: bytes, name: bytes) -> list[bytes]:
    return re.findall(rb'"%b"\s*:\s*([0-9]{1,15})\b' % name, data)
