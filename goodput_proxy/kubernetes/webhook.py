"""The mutating admission webhook: an HTTPS server with one purpose, and `/healthz`.

It is made to be registered with `failurePolicy: Ignore`: when it is away, pods start without the
sidecar. It keeps no state, so several replicas need no agreement.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
from typing import TYPE_CHECKING

import structlog
from aiohttp import web

from goodput_proxy.certificates import TlsError
from goodput_proxy.settings import ConfigError
from goodput_proxy.tls import TlsSite

from .credentials import WebhookCredentials
from .review import NoReviewError, answer

if TYPE_CHECKING:
    from .options import SidecarOptions
    from .settings import WebhookSettings

_log = structlog.get_logger()

PATH = "/mutate"
# The API server takes objects of up to 3 MiB, and a review may hold one twice.
MAX_BODY_BYTES = 8 * 1024 * 1024
# The API server waits for 10 s at most unless it is told otherwise.
_SHUTDOWN_S = 10.0
_HANDSHAKE_S = 10.0


async def run_webhook(settings: WebhookSettings) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        ConfigError: when the certificate or the address cannot be used.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    webhook = Webhook(settings)
    await webhook.start()
    try:
        await stop.wait()
    finally:
        await webhook.stop()


class Webhook:
    """The server.

    Args:
        settings: validated settings.

    Raises:
        ConfigError: when the certificate cannot be used.
    """

    def __init__(self, settings: WebhookSettings) -> None:
        self._options: SidecarOptions = settings.options()
        self._listen = settings.listen
        try:
            self.credentials = WebhookCredentials(settings.tls)
        except TlsError as exc:
            raise ConfigError([str(exc)]) from None
        app = web.Application(client_max_size=MAX_BODY_BYTES)
        app.router.add_post(PATH, self._mutate)
        app.router.add_get("/healthz", self._healthz)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=_SHUTDOWN_S)
        self._watch: asyncio.Task[None] | None = None
        self.url = ""

    async def start(self) -> None:
        """Listen.

        Raises:
            ConfigError: when the address cannot be had.
        """
        await self._runner.setup()
        host, port = self._listen.host, self._listen.port
        site = TlsSite(self._runner, host, port, self.credentials.context, _HANDSHAKE_S)
        try:
            await site.start()
        except OSError as exc:
            await self._runner.cleanup()
            raise ConfigError(
                [f"listen: cannot listen on {self._listen}: {exc.strerror or exc}"]
            ) from None
        self._watch = asyncio.create_task(self.credentials.keep_fresh())
        port = self._runner.addresses[0][1]
        self.url = f"https://{host}:{port}"
        _log.info("listening", webhook_url=self.url + PATH, image=self._options.image)

    async def stop(self) -> None:
        """Finish what is under way and close."""
        if self._watch is not None:
            self._watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watch
        await self._runner.cleanup()
        _log.info("stopped")

    async def _mutate(self, request: web.Request) -> web.Response:
        body = await request.read()  # 413 above the bound
        try:
            found = answer(json.loads(body), self._options)
        except (ValueError, RecursionError, NoReviewError):
            return web.Response(status=400, text="this is no AdmissionReview\n")
        if found.injected:
            _log.info("injected", pod=found.injected)
        if found.warning:
            _log.warning("not_injected", reason=found.warning)
        return web.json_response(found.body)

    async def _healthz(self, request: web.Request) -> web.Response:
        del request
        return web.Response(text="ok\n")
