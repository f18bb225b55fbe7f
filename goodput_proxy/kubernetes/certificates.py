"""The webhook's certificate, read from files that somebody renews.

The same TLS context is told of the new certificate, so that connections made from then on get it
and those that are open go on. Files are looked at by time and size, as a mounted Secret is
exchanged by a symbolic link; half of a renewal (the key of one certificate with another) is left
for the next look.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from pathlib import Path

_log = structlog.get_logger()

# The kubelet itself needs up to a minute to bring a renewed Secret into a pod.
LOOK_EVERY_S = 10.0

_Signature = tuple[tuple[int, int, int], ...]


class Certificate:
    """A certificate with its key, and the TLS context that serves it.

    Args:
        certificate: PEM, with the chain.
        key: PEM.

    Raises:
        OSError: when the files cannot be read or do not fit together.
    """

    def __init__(self, certificate: Path, key: Path) -> None:
        self._files = (certificate, key)
        self.renewals = 0
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._signature = self._sign()
        self.context.load_cert_chain(*self._files)

    def refresh(self) -> bool:
        """Read the files again if they have changed; return whether there is a new certificate."""
        try:
            signature = self._sign()
            if signature == self._signature:
                return False
            # What cannot be loaded must not reach the context that serves: it would be half of it.
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(*self._files)
            self.context.load_cert_chain(*self._files)
        except OSError as exc:
            _log.warning("certificate_unusable", reason=str(exc), file=str(self._files[0]))
            return False
        self._signature = signature
        self.renewals += 1
        _log.info("certificate_renewed", file=str(self._files[0]))
        return True

    async def watch(self, every_s: float = LOOK_EVERY_S) -> None:
        """Look at the files again and again, until cancelled."""
        while True:
            await asyncio.sleep(every_s)
            self.refresh()

    def _sign(self) -> _Signature:
        stats = [path.stat() for path in self._files]
        return tuple((stat.st_ino, stat.st_mtime_ns, stat.st_size) for stat in stats)
