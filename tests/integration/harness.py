"""The real proxy in the test's own event loop, between raw sockets, and its metrics."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from goodput_proxy.app import App
from goodput_proxy.settings import Settings
from goodput_proxy.traffic import Traffic
from tests.integration.fake_upstream import FakeUpstream, Peer, connect
from tests.samples import Samples
from tests.waiting import eventually

if TYPE_CHECKING:
    import ssl

    from goodput_proxy.listener import Listener
    from goodput_proxy.proxy import Proxy
    from tests.integration.fake_upstream import Answer

CHAT_PATH = b"/v1/chat/completions"
GET = b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n"
GET_10 = b"GET /x HTTP/1.0\r\nHost: x\r\n\r\n"
HEAD = b"HEAD /x HTTP/1.1\r\nHost: x\r\n\r\n"
CHUNKED_POST = (
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
)
CHUNKED_HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
SSE_HEADERS = b"Content-Type: text/event-stream\r\n"


async def get(port: int, path: str) -> Answer:
    """Send a GET and return the answer."""
    peer = await connect(port)
    peer.send(b"GET %b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % path.encode())
    answer = await peer.answer()
    peer.close()
    return answer


async def scrape(admin_port: int) -> Samples:
    """Read `/metrics` of an admin listener."""
    answer = await get(admin_port, "/metrics")
    assert answer.status == 200
    return Samples(answer.body.decode())


@dataclass
class RunningProxy:
    """A proxy in front of a fake upstream, with the clients that a test has opened."""

    app: App
    upstream: FakeUpstream
    clients: list[Peer] = field(default_factory=list)
    client_tls: ssl.SSLContext | None = None

    @classmethod
    async def start(cls, fake: FakeUpstream, /, **settings: Any) -> RunningProxy:
        """Start a proxy on free ports; `settings` are those of a configuration file."""
        values: dict[str, Any] = {
            "upstream": fake.url,
            "listen": "127.0.0.1:0",
            "admin_listen": "127.0.0.1:0",
            "drain": {"timeout": "0s"},
            **settings,
        }
        app = App(Settings(**values))
        await app.start()
        return cls(app, fake)

    @property
    def inner(self) -> Proxy:
        """The part that handles requests."""
        return self._traffic.proxy

    @property
    def connections(self) -> int:
        """How many clients' connections are open."""
        return len(self.listener.connections)

    @property
    def listener(self) -> Listener:
        """The server of clients' connections."""
        return self._traffic.listener

    @property
    def port(self) -> int:
        """The traffic port."""
        return _port(self.app.proxy_url)

    @property
    def admin_port(self) -> int:
        """The admin port."""
        return _port(self.app.admin_url)

    async def connect(self, *, receive_buffer: int | None = None) -> Peer:
        """Open a client's connection."""
        client = await connect(self.port, receive_buffer=receive_buffer, tls=self.client_tls)
        self.clients.append(client)
        return client

    async def begin(self, request: bytes) -> tuple[Peer, Peer]:
        """Send a request on new connections; return client and upstream when its head is there."""
        client = await self.connect()
        client.send(request)
        server = await self.upstream.accept()
        await server.until_head()
        return client, server

    async def exchange(self, request: bytes, response: bytes) -> tuple[bytes, Answer]:
        """Play one exchange on new connections; return the request as it came and the answer."""
        client, server = await self.begin(request)
        seen = b"".join(await server.request())
        server.send(response)
        answer = await client.answer(to_head=request.startswith(b"HEAD "))
        client.close()
        server.close()
        return seen, answer

    @property
    def _traffic(self) -> Traffic:
        assert isinstance(self.app.traffic, Traffic)
        return self.app.traffic

    async def idle(self) -> None:
        """Wait until every request has been judged."""
        await eventually(lambda: not self.inner.in_flight, "no request under way")

    async def samples(self) -> Samples:
        """Return the metrics when no request is under way."""
        await self.idle()
        return await scrape(self.admin_port)

    async def verdicts(self) -> dict[tuple[str, str], int]:
        """Return the verdicts when no request is under way."""
        return (await self.samples()).verdicts()

    async def stop(self) -> None:
        """Close the clients and the proxy."""
        for client in self.clients:
            client.close()
        await self.app.stop()


def post(
    body: bytes = b"", *headers: bytes, path: bytes = CHAT_PATH, version: bytes = b"1.1"
) -> bytes:
    """Return a POST with a sized body."""
    lines = [
        b"POST %b HTTP/%b" % (path, version),
        b"Host: upstream.test",
        *headers,
        b"Content-Length: %d" % len(body),
    ]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def get_request(target: bytes = b"/x", *headers: bytes, version: bytes = b"1.1") -> bytes:
    """Return a request without a body."""
    lines = [b"GET " + target + b" HTTP/" + version, b"Host: x", *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def chunk(data: bytes) -> bytes:
    """Return data as one HTTP chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def token(text: str = "a") -> bytes:
    """Return a record of a chat stream that holds one token."""
    return b'data: {"choices":[{"index":0,"delta":{"content":"%b"}}]}\n\n' % text.encode()


SSE_HEAD = b"HTTP/1.1 200 OK\r\n" + SSE_HEADERS + b"Transfer-Encoding: chunked\r\n\r\n"
FINISH = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
DONE = b"data: [DONE]\n\n"
LAST_CHUNK = b"0\r\n\r\n"


def sized(body: bytes, status: bytes = b"200 OK", *headers: bytes) -> bytes:
    """Return a response with a Content-Length."""
    lines = [b"HTTP/1.1 " + status, *headers, b"Content-Length: %d" % len(body)]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def _port(url: str) -> int:
    return int(url.rpartition(":")[2])
