"""Headless Chromium, driven by its own protocol over a WebSocket.

The DevTools protocol is JSON over one WebSocket, and aiohttp speaks that already; a driver library
would bring a browser or a second server process along, and hide what is asked of the network.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
from collections import defaultdict
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp

from tests.conftest import require_program
from tests.waiting import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

FLAGS = (
    "--headless=new",
    "--no-sandbox",  # root in a container has no user namespaces
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--hide-scrollbars",
    "--force-color-profile=srgb",
    "--remote-debugging-port=0",
)


class Browser:
    """One browser with its connection; pages are its targets."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._pages: dict[str, Page] = {}
        self._reader = asyncio.create_task(self._read())

    async def call(self, method: str, session: str = "", **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol and return its result."""
        number = next(self._numbers)
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        message = {"id": number, "method": method, "params": parameters}
        await self._socket.send_json(message | ({"sessionId": session} if session else {}))
        async with asyncio.timeout(PATIENCE_S):
            result: dict[str, Any] = await answer
        return result

    async def open(self, *, width: int = 1280, height: int = 900, dark: bool = False) -> Page:
        """Open an empty page that sees a screen of this size."""
        target = await self.call("Target.createTarget", url="about:blank")
        session = await self.call(
            "Target.attachToTarget", targetId=target["targetId"], flatten=True
        )
        page = self._pages[session["sessionId"]] = Page(
            self, session["sessionId"], target["targetId"]
        )
        for domain in ("Page", "Runtime", "Network", "Log"):
            await page.call(f"{domain}.enable")
        await page.resize(width, height)
        await page.prefer(dark=dark)
        return page

    async def processes(self) -> dict[str, float]:
        """Return the seconds of CPU that each kind of process has used."""
        told = await self.call("SystemInfo.getProcessInfo")
        used: dict[str, float] = defaultdict(float)
        for process in told["processInfo"]:
            used[process["type"]] += process["cpuTime"]
        return used

    async def close(self) -> None:
        """Let the browser end itself."""
        with contextlib.suppress(ConnectionError, TimeoutError, RuntimeError):
            await self.call("Browser.close")
        self._reader.cancel()

    async def _read(self) -> None:
        async for message in self._socket:
            told = json.loads(message.data)
            if "id" in told:
                answer = self._waiting.pop(told["id"])
                if answer.done():
                    continue
                if "error" in told:
                    answer.set_exception(RuntimeError(told["error"]["message"]))
                else:
                    answer.set_result(told["result"])
            elif (page := self._pages.get(told.get("sessionId", ""))) is not None:
                page.take(told["method"], told["params"])


class Page:
    """A page, with what it wrote to its console and what it asked of the network."""

    def __init__(self, browser: Browser, session: str, target: str) -> None:
        self._browser = browser
        self._session = session
        self._target = target
        self.console: list[str] = []
        self.requests: list[str] = []

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol for this page."""
        return await self._browser.call(method, self._session, **parameters)

    def take(self, method: str, told: dict[str, Any]) -> None:
        """Take note of an event."""
        if method == "Network.requestWillBeSent":
            self.requests.append(told["request"]["url"])
        elif method == "Runtime.consoleAPICalled":
            self.console.append(f"{told['type']}: {told['args']}")
        elif method == "Runtime.exceptionThrown":
            self.console.append(f"exception: {told['exceptionDetails']}")
        elif method == "Log.entryAdded":
            self.console.append(f"{told['entry']['level']}: {told['entry']['text']}")

    async def close(self) -> None:
        """Close the page."""
        await self._browser.call("Target.closeTarget", targetId=self._target)

    async def go(self, url: str) -> None:
        """Open an address."""
        await self.call("Page.navigate", url=url)

    async def resize(self, width: int, height: int) -> None:
        """Show the page on a screen of this size."""
        await self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )

    async def prefer(self, *, dark: bool) -> None:
        """Choose a colour scheme."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.call("Emulation.setEmulatedMedia", features=[scheme])

    async def evaluate(self, expression: str) -> Any:
        """Return the value of an expression, awaited when it is a promise."""
        done = await self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in done, done["exceptionDetails"]
        return done["result"].get("value")

    async def until(self, expression: str, patience_s: float = PATIENCE_S) -> Any:
        """Wait until an expression is true, and return its value."""
        try:
            async with asyncio.timeout(patience_s):
                while not (value := await self.evaluate(expression)):  # noqa: ASYNC110 -- see waiting
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(f"{expression} within {patience_s} s; {self.console}") from None
        return value

    async def press(self, key: str) -> None:
        """Press a key, named as the DOM names it."""
        for kind in ("keyDown", "keyUp"):
            await self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key)

    async def hover(self, selector: str) -> None:
        """Move the pointer onto the middle of an element."""
        box = await self.evaluate(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)});"
            " e.scrollIntoView({block: 'center'}); const b = e.getBoundingClientRect();"
            " return [b.x + b.width / 2, b.y + b.height / 2] })()"
        )
        await self.call("Input.dispatchMouseEvent", type="mouseMoved", x=box[0], y=box[1])

    async def screenshot(self, path: Path, *, height: int | None = None) -> None:
        """Save a picture of the page from its top, the whole of it unless a height is given."""
        size = await self.evaluate(
            "[innerWidth, Math.ceil(document.body.getBoundingClientRect().bottom)]"
        )
        clip = {"x": 0, "y": 0, "width": size[0], "height": height or size[1], "scale": 1}
        picture = await self.call("Page.captureScreenshot", clip=clip, captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(picture["data"]))  # noqa: ASYNC240 -- a small file


@asynccontextmanager
async def chromium(folder: Path) -> AsyncIterator[Browser]:
    """Run a browser whose profile is in a folder; the test is skipped where there is none."""
    program = require_program("chromium")
    process = await asyncio.create_subprocess_exec(
        program,
        *FLAGS,
        f"--user-data-dir={folder}",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        url = await _find_url(folder, process)
        async with (
            aiohttp.ClientSession() as client,
            client.ws_connect(url, max_msg_size=0) as socket,
        ):
            browser = Browser(socket)
            yield browser
            await browser.close()
        await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _find_url(folder: Path, process: asyncio.subprocess.Process) -> str:
    """Return where the browser listens, which it writes into its profile."""
    told = folder / "DevToolsActivePort"
    async with asyncio.timeout(3 * PATIENCE_S):  # it reads 300 MB from the disk first
        while not told.exists() or len(told.read_text().split()) < 2:
            assert process.returncode is None, "chromium has ended before it listened"
            await asyncio.sleep(0.02)
    port, path = told.read_text().split()
    return f"ws://127.0.0.1:{port}{path}"
