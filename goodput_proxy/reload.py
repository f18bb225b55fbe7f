"""Reading the configuration anew while traffic flows: on SIGHUP, and when its file has changed.

All of a new policy comes into force in one step of the event loop; requests in flight keep the
one they began with. A configuration that is unusable changes nothing. What cannot change without
a restart, as addresses and timeouts, is named in the log and stays as it is.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from .settings import ConfigError
from .watch import FileWatch

if TYPE_CHECKING:
    from collections.abc import Callable

    from .metrics import Metrics
    from .settings import Settings

_log = structlog.get_logger()

_LOOK_S = 1.0
# The groups of settings that a reload brings into force; all others need a restart.
RELOADED = ("slo", "slo_classes", "slo_headers", "log")


class Reloader:
    """What keeps the configuration in force and the one in the file the same.

    Args:
        settings: those in force.
        load: reads the settings as at the start; may be called in a thread.
        apply: brings settings into force.
        metrics: where the outcome is shown.
    """

    def __init__(
        self,
        settings: Settings,
        load: Callable[[], Settings],
        apply: Callable[[Settings], None],
        metrics: Metrics,
    ) -> None:
        self._settings = settings
        self._load = load
        self._apply = apply
        self._metrics = metrics
        self._asked = asyncio.Event()
        self._watch = FileWatch([settings.config] if settings.config is not None else [])

    def ask(self) -> None:
        """Have the configuration read soon, changed or not."""
        self._asked.set()

    async def run(self, look_s: float = _LOOK_S) -> None:
        """Reload whenever that is asked for or the file has changed."""
        while True:
            try:
                async with asyncio.timeout(look_s):
                    await self._asked.wait()
            except TimeoutError:
                if not self._watch.settled():
                    continue
            self._asked.clear()
            await self.reload()

    async def reload(self) -> bool:
        """Read the configuration and bring it into force; return whether it was usable."""
        try:
            # In a thread: to read and check it takes some 10 ms.
            new = await asyncio.get_running_loop().run_in_executor(None, self._load)
        except ConfigError as error:
            self._metrics.reloaded(successful=False)
            for problem in error.problems:
                _log.error("configuration not reloaded, the old one stays", problem=problem)
            return False
        old = self._settings
        changed = [
            name for name in type(new).model_fields if getattr(new, name) != getattr(old, name)
        ]
        late = [name for name in changed if name not in RELOADED]
        self._settings = new.model_copy(update={name: getattr(old, name) for name in late})
        self._apply(self._settings)
        self._metrics.reloaded(successful=True)
        _log.info("configuration reloaded", changed=[n for n in changed if n in RELOADED])
        if late:
            _log.warning("these settings change only with a restart", settings=late)
        return True
