"""Dialect of endpoints that different servers answer differently: it finds out which one speaks.

`/generate` is SGLang's, LMDeploy's, Triton's and old vLLM's, `/invocations` whatever its caller
sent, and a transcription may be choices, typed events or bare text. The keys of a record tell.
The first record that says something decides for the rest of the response.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from .answer import read_answer
from .candidates import CandidatesDialect
from .choices import ChoicesDialect
from .decoding import UNREADABLE, failure, repair
from .dialect import DONE, JsonDialect
from .framing import Record
from .generate import GenerateDialect
from .llamacpp import LlamaCppDialect
from .ollama import OllamaDialect
from .plain import PlainDialect
from .tensors import TensorsDialect
from .tgi import TgiDialect
from .typed import TypedDialect

if TYPE_CHECKING:
    from collections.abc import Callable, Container

    from .dialect import Dialect
    from .events import Event

# Keys that only one family has at the top of its records, most telling first. A value may be
# null, but the key must be there.
_FAMILIES: tuple[tuple[str, Callable[[], Dialect]], ...] = (
    ("choices", ChoicesDialect),
    ("candidates", CandidatesDialect),
    ("type", TypedDialect),
    ("token", TgiDialect),
    ("meta_info", GenerateDialect),
    ("text_output", TensorsDialect),
    ("model_name", TensorsDialect),
    ("done", OllamaDialect),
    ("stop", LlamaCppDialect),
    ("tokens_predicted", LlamaCppDialect),
    ("text", GenerateDialect),
    ("content", LlamaCppDialect),
)


class _Error(msgspec.Struct, gc=False):
    error: Any = None


_FIRST_KEY = re.compile(rb'\s*\{\s*"([a-z_]{1,32})"')
_decode_keys = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_error = msgspec.json.Decoder(_Error).decode


class DetectingDialect(JsonDialect):
    """Read one response in the dialect that its records show.

    Args:
        generates: False when the request asked for no output: text is then an echo.
    """

    __slots__ = ("_chosen", "_generates")

    def __init__(self, *, generates: bool = True) -> None:
        self._generates = generates
        self._chosen: Dialect | None = None

    def read(self, record: Record) -> list[Event]:
        """Return what one record of a stream says; never raises."""
        if self._chosen is None:
            chosen = _choose(record)
            if isinstance(chosen, ChoicesDialect):
                chosen = ChoicesDialect(generates=self._generates)
            self._chosen = chosen
        return self._chosen.read(record) if self._chosen is not None else super().read(record)

    def read_unary(self, body: bytes) -> list[Event]:
        """Return what an answer that is not streamed says; never raises."""
        return read_answer(body, generates=self._generates)

    def _read(self, data: bytes, event: bytes) -> list[Event]:
        """Read a record that shows no family: an error, or nothing."""
        if data.isspace():
            return []
        error = _decode_error(data).error
        return [failure(error)] if error or event == b"error" else []


def _choose(record: Record) -> Dialect | None:
    data = record.data
    if record.oversize:
        found = _FIRST_KEY.match(record.head)
        return _choose_by_keys({found[1].decode()} if found else ())
    if not data or data.isspace() or data.startswith(DONE):
        return None
    try:
        return _choose_by_keys(_decode_keys(data))
    except UNREADABLE:
        repaired = repair(data)
        if repaired is not None:
            return _choose(Record(repaired, record.event))
        return None if data.lstrip()[:1] in {b"{", b"["} else PlainDialect()


def _choose_by_keys(keys: Container[str]) -> Dialect | None:
    for key, make in _FAMILIES:
        if key in keys:
            return make()
    return None
