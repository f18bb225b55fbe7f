"""The files of the live page, as they are served: from memory, with a tag each, and nothing else.

The policy of the page allows what this listener serves and nothing inline, so that no text which
came from a request can become code, and no browser asks anybody else for anything.
"""

from __future__ import annotations

from hashlib import sha256
from importlib import resources
from typing import TYPE_CHECKING, NamedTuple

from aiohttp import ETag, web

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self';"
    " img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
# By suffix; a file of another kind is not served.
_TYPES = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}


class _Asset(NamedTuple):
    body: bytes
    content_type: str
    tag: str


class Assets:
    """The files below `live/static`, read when the first of them is asked for."""

    def __init__(self) -> None:
        self._assets: dict[str, _Asset] | None = None

    def serve(self, name: str, request: web.Request) -> web.Response:
        """Answer with a file, or with 304 to who has it already.

        Raises:
            HTTPNotFound: when there is no such file.
        """
        if self._assets is None:
            root = resources.files("goodput_proxy.live") / "static"
            self._assets = dict(_read(root, ""))
        asset = self._assets.get(name)
        if asset is None:
            raise web.HTTPNotFound
        # Asked for anew each time, so that a page never runs with the scripts of another version.
        headers = {**HEADERS, "Cache-Control": "no-cache"}
        known = any(tag.value in {asset.tag, "*"} for tag in request.if_none_match or ())
        response = (
            web.Response(status=304, headers=headers)
            if known
            else web.Response(
                body=asset.body,
                headers=headers,
                content_type=asset.content_type,
                charset="utf-8",
            )
        )
        response.etag = ETag(asset.tag)
        return response


def _read(folder: Traversable, path: str) -> list[tuple[str, _Asset]]:
    found = []
    for entry in folder.iterdir():
        name = f"{path}{entry.name}"
        suffix = f".{name.rpartition('.')[2]}"
        if entry.is_dir():
            found += _read(entry, f"{name}/")
        elif suffix in _TYPES:
            body = entry.read_bytes()
            found.append((name, _Asset(body, _TYPES[suffix], sha256(body).hexdigest()[:16])))
    return found
