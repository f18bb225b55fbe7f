"""TLS contexts from files, and made anew when the files change.

asyncio asks a context for each connection's TLS object (`wrap_bio`). A `RenewableContext` answers
with an object of the newest context, so that a new certificate is that of the next handshake and
no connection is touched. Each context is made whole from what the files hold and only then put in
force: what is bad changes nothing, and a session of before a change cannot be resumed after it.

Files are looked at every second (see `watch`), as cert-manager and the kubelet swap them.
"""

from __future__ import annotations

import asyncio
import ssl
from functools import partial
from time import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

import structlog
from aiohttp import web

from .certificates import TlsError, believe, read_end_s, show
from .watch import FileWatch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from .ledger import Ledger
    from .settings import ServerTlsSettings, Settings

_log = structlog.get_logger()

LOOK_S = 1.0
# Of what is written to a connection so much waits in the proxy, as without TLS; asyncio would let
# eight times as much wait.
_WRITE_BYTES: Final = 64 * 1024
# Who has been told that the connection ends has so long to agree; asyncio would wait for 30 s.
_SHUTDOWN_S: Final = 2.0


class RenewableContext(ssl.SSLContext):
    """A context that makes the TLS objects of connections by another one, `current`."""

    current: ssl.SSLContext

    def wrap_bio(self, *arguments: Any, **keywords: Any) -> ssl.SSLObject:
        """Return the TLS object of a new connection."""
        return self.current.wrap_bio(*arguments, **keywords)


class Credentials:
    """What one side of the proxy shows and believes, as its files say it at present.

    Args:
        use: the group of settings, which is also the label.
        make: makes a context from the files.
        files: the files.
        certificate: which of them holds the own certificate.
        metrics: where reloads and the certificate's end are shown.
        server: whether this is the accepting side.

    Raises:
        TlsError: when a file is unusable.
    """

    def __init__(
        self,
        use: str,
        make: Callable[[], ssl.SSLContext],
        files: Sequence[Path | None],
        *,
        certificate: Path | None,
        metrics: Ledger,
        server: bool,
    ) -> None:
        self._use = use
        self._make = make
        self._certificate = certificate
        self._metrics = metrics
        self.context = RenewableContext(
            ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT
        )
        self._watch = FileWatch([file for file in files if file is not None])
        self._load()

    def refresh(self) -> None:
        """Look at the files, and put what they say in force when they have changed."""
        if not self._watch.settled():
            return
        try:
            self._load()
        except TlsError as error:
            self._metrics.tls_reload(self._use, succeeded=False)
            _log.error("TLS files are unusable, the old ones stay in force", problem=str(error))
        else:
            self._metrics.tls_reload(self._use, succeeded=True)
            _log.info("TLS files were read again", use=self._use)

    def _load(self) -> None:
        context = self._make()
        if self._certificate is not None:
            ends_s = read_end_s(f"{self._use}.cert", self._certificate)
            self._metrics.tls_certificate_ends(self._use, ends_s)
            if ends_s < time():
                _log.error("the certificate has expired, and will be refused", use=self._use)
        self.context.current = context


class AllCredentials(NamedTuple):
    """The credentials of each side of the proxy; None where there is no TLS."""

    upstream: Credentials | None
    listen: Credentials | None
    admin_listen: Credentials | None


def load_credentials(settings: Settings, metrics: Ledger) -> AllCredentials:
    """Return the credentials that the settings name.

    Raises:
        TlsError: when a file is unusable, or settings contradict each other.
    """
    return AllCredentials(
        _client_credentials("upstream_tls", settings, metrics),
        _server_credentials("listen_tls", settings.listen_tls, metrics),
        _server_credentials("admin_listen_tls", settings.admin_listen_tls, metrics),
    )


def server_context(use: str, settings: ServerTlsSettings) -> ssl.SSLContext:
    """Return the context of a listener, as its files say it at present.

    Raises:
        TlsError: when a file is unusable.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    show(context, use, settings.cert, settings.key)
    if settings.client_ca is not None:
        believe(context, f"{use}.client_ca", settings.client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    context.set_alpn_protocols(["http/1.1"])
    return context


async def keep_fresh(credentials: AllCredentials) -> None:
    """Look at the files now and then, for ever, in a thread: they may be slow and are parsed."""
    while True:
        await asyncio.sleep(LOOK_S)
        for each in credentials:
            if each is not None:
                await asyncio.to_thread(each.refresh)


def _server_credentials(
    use: str, settings: ServerTlsSettings, metrics: Ledger
) -> Credentials | None:
    files = (settings.cert, settings.key, settings.client_ca)
    if settings.cert is None:
        if any(files):
            name = "key" if settings.key else "client_ca"
            raise TlsError(
                f"{use}.{name}: is of no use alone: name the certificate with {use}.cert"
            )
        return None

    make = partial(server_context, use, settings)
    return Credentials(use, make, files, certificate=settings.cert, metrics=metrics, server=True)


def _client_credentials(use: str, settings: Settings, metrics: Ledger) -> Credentials | None:
    tls = settings.upstream_tls
    if not settings.upstream.tls:
        if given := tls.model_fields_set:
            text = f"is of no use for {settings.upstream}: name an upstream https://HOST:PORT"
            raise TlsError(f"{use}.{min(given)}: {text}")
        return None
    if tls.key is not None and tls.cert is None:
        raise TlsError(f"{use}.key: is of no use alone: name the certificate with {use}.cert")
    if tls.ca is not None and not tls.verify:
        raise TlsError(f"{use}.ca: is of no use with {use}.verify false: drop one of the two")

    def make() -> ssl.SSLContext:
        if tls.ca is None and tls.verify:
            context = ssl.create_default_context()
        else:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if tls.ca is not None:
            believe(context, f"{use}.ca", tls.ca)
        if not tls.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        show(context, use, tls.cert, tls.key)
        context.set_alpn_protocols(["http/1.1"])
        return context

    if not tls.verify:
        _log.warning(
            "the upstream's certificate is NOT verified: whoever answers there is believed",
            setting=f"{use}.verify",
        )
    files = (tls.ca, tls.cert, tls.key)
    return Credentials(use, make, files, certificate=tls.cert, metrics=metrics, server=False)


def bound_buffers(transport: asyncio.WriteTransport) -> None:
    """Let no more wait in a connection's TLS than would wait without.

    While reading is paused uvloop would go on reading what is encrypted, and drop it when the
    other end closes: so it stops at the first byte.
    """
    if transport.get_extra_info("sslcontext") is not None:
        transport.set_write_buffer_limits(high=_WRITE_BYTES)
        cast("Any", transport).set_read_buffer_limits(high=1)  # every loop has it for TLS


class TlsSite(web.TCPSite):
    """A TCP site that does not wait for long for a handshake, or for a good-bye.

    Args:
        runner: the server's.
        host: where to listen.
        port: the same.
        context: the server's TLS.
        handshake_s: seconds that a handshake may take.
        reuse_port: whether other processes listen there, too.
        backlog: how many connections may wait to be accepted.
    """

    __slots__ = ("_handshake_s",)

    def __init__(
        self,
        runner: web.BaseRunner,
        host: str,
        port: int,
        context: ssl.SSLContext,
        handshake_s: float,
        *,
        reuse_port: bool | None = None,
        backlog: int = 128,
    ) -> None:
        super().__init__(
            runner, host, port, ssl_context=context, reuse_port=reuse_port, backlog=backlog
        )
        self._handshake_s = handshake_s

    async def start(self) -> None:
        """Listen; it is the base class's own, which knows no timeouts of TLS."""
        await web.BaseSite.start(self)
        assert self._runner.server is not None  # noqa: S101 -- the base class has just checked it
        self._server = await asyncio.get_running_loop().create_server(
            self._runner.server,
            self._host,
            self._port,
            ssl=self._ssl_context,
            backlog=self._backlog,
            reuse_port=self._reuse_port,
            ssl_handshake_timeout=self._handshake_s,
            ssl_shutdown_timeout=_SHUTDOWN_S,
        )
