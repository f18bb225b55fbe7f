"""The webhook's certificate, read again when somebody has renewed it.

Made of what the proxy's own listeners have: the certificate of the next handshake is the newest,
open connections go on, and files that do not fit together change nothing.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING

import structlog

from goodput_proxy.certificates import TlsError
from goodput_proxy.tls import LOOK_S, RenewableContext, server_context
from goodput_proxy.watch import FileWatch

if TYPE_CHECKING:
    from goodput_proxy.settings.tls import ServerTlsSettings

_log = structlog.get_logger()

_USE = "tls"


class WebhookCredentials:
    """The TLS context of the webhook.

    Args:
        settings: the files.

    Raises:
        TlsError: when one is unusable.
    """

    def __init__(self, settings: ServerTlsSettings) -> None:
        if settings.cert is None:
            raise TlsError(f"{_USE}.cert: is required, as the API server speaks TLS only")
        self._settings = settings
        files = (settings.cert, settings.key, settings.client_ca)
        self._watch = FileWatch([file for file in files if file is not None])
        self.context = RenewableContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.current = server_context(_USE, settings)

    def refresh(self) -> None:
        """Look at the files, and put what they say in force when they have changed."""
        if not self._watch.settled():
            return
        try:
            self.context.current = server_context(_USE, self._settings)
        except TlsError as error:
            _log.error("TLS files are unusable, the old ones stay in force", problem=str(error))
        else:
            _log.info("TLS files were read again", use=_USE)

    async def keep_fresh(self) -> None:
        """Look at the files now and then, for ever, in a thread: they may be slow."""
        while True:
            await asyncio.sleep(LOOK_S)
            await asyncio.to_thread(self.refresh)
