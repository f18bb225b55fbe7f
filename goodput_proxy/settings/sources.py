"""Where settings come from beside flags and environment, and what is said of unusable ones."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from pydantic_settings import PydanticBaseSettingsSource

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic.fields import FieldInfo


class ConfigError(Exception):
    """The settings are unusable; `problems` has one line each, naming the field."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


class YamlFile(PydanticBaseSettingsSource):
    """The file that a stronger source named with `config`."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Satisfy the interface: this source reads whole files."""
        del field
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        """Return what the file says.

        Raises:
            ConfigError: when it cannot be read or is no mapping of settings.
        """
        name = self.current_state.get("config")
        if name is None:
            return {}
        try:
            content = yaml.safe_load(Path(name).read_text(encoding="utf-8"))
        except OSError as exc:
            raise ConfigError([f"config: cannot read {name}: {exc.strerror}"]) from None
        except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as exc:
            reason = " ".join(str(exc).split())
            raise ConfigError([f"config: {name} is not YAML: {reason}"]) from None
        if content is None:
            return {}
        if not isinstance(content, dict):
            raise ConfigError([f"config: {name} must hold a mapping of settings"])
        if "config" in content:
            raise ConfigError([f"config: {name} must not name another file"])
        if odd := [key for key in content if not isinstance(key, str)]:
            raise ConfigError([f"{key!r}: unknown setting" for key in odd])
        return content


_REASONS = {
    "extra_forbidden": "unknown setting",
    "missing": "is required",
    "model_type": "must be a mapping",
    "tuple_type": "must be a list",
}
_UNPARSED = re.compile(r'error parsing value for field "(\w+)"')
_UNPAIRED = re.compile(r"Parsing error encountered for ([\w.]+): not enough values to unpack")


def describe_error(error: Any) -> str:
    """Say in one line which field is wrong and why."""
    field = ".".join(str(part) for part in error["loc"])
    if error["type"] in _REASONS:
        return f"{field}: {_REASONS[error['type']]}"
    message = error["msg"].removeprefix("Value error, ")
    if not field:  # what is wrong is how several go together
        return str(message)
    value = error["input"]
    if isinstance(value, str | int | float) and repr(value) not in message:
        message = f"{message} (got {value!r})"
    if not message[:2].isupper():  # such as URL
        message = f"{message[0].lower()}{message[1:]}"
    return f"{field}: {message}"


def describe_source(message: str) -> str:
    """Say in one line what could not even be taken apart."""
    if unparsed := _UNPARSED.match(message):
        return f"{unparsed[1]}: must be JSON"
    if unpaired := _UNPAIRED.match(message):
        return f"{unpaired[1]}: must be KEY=VALUE"
    return message.removeprefix("error parsing CLI: ")
