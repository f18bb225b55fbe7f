"""Another configuration while traffic flows, in the process that users run."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from tests.integration.harness import (
    DONE,
    FINISH,
    LAST_CHUNK,
    SSE_HEAD,
    chunk,
    post,
    scrape,
    token,
)
from tests.integration.process import serving

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.fake_upstream import FakeUpstream, Peer
    from tests.integration.process import ProxyProcess

STRICT = "slo: {ttft: 1us, itl: none}\n"
LENIENT = "slo: {ttft: 600s, itl: none}\n"
REST = chunk(token("secret") + FINISH + DONE) + LAST_CHUNK


async def ask(proxy: ProxyProcess, upstream: FakeUpstream) -> tuple[Peer, Peer]:
    """Send a request and return its client and server when it has arrived."""
    client = await proxy.connect()
    client.send(post(b'{"model":"m"}', b"X-Request-Id: r-1"))
    server = await upstream.accept()
    await server.request()
    return client, server


async def finish(client: Peer, server: Peer) -> None:
    """Answer a request."""
    server.send(SSE_HEAD, REST)
    assert (await client.answer()).complete
    client.close()
    server.close()


async def test_requests_keep_the_policy_they_began_with(
    upstream: FakeUpstream, tmp_path: Path
) -> None:
    """On SIGHUP new requests are judged by the new limits, those in flight by their own."""
    path = tmp_path / "config.yaml"
    path.write_text(LENIENT)
    async with serving(upstream.url, f"--config={path}", "--log.bad-requests=1") as proxy:
        begun = await ask(proxy, upstream)
        path.write_text(STRICT)
        proxy.signal(signal.SIGHUP)
        assert (await proxy.logged("configuration reloaded"))["changed"] == ["slo"]
        late = await ask(proxy, upstream)
        await finish(*begun)
        await finish(*late)
        line = await proxy.logged("request")
        samples = await scrape(proxy.admin_port)

    assert samples.verdicts() == {("good", ""): 1, ("slow", "ttft"): 1}
    assert samples.total("goodput_slo_threshold_seconds", dimension="ttft") == 1e-6
    assert (line["verdict"], line["cause"], line["request_id"]) == ("slow", "ttft", "r-1")
    assert "secret" not in str(line)


async def test_a_config_map_is_swapped(upstream: FakeUpstream, tmp_path: Path) -> None:
    """Without a signal: the directory behind the file's name is another one."""
    for name, text in (("1", LENIENT), ("2", STRICT), ("3", "slo: {ttft: 5}\n")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.yaml").write_text(text)
    path, data = tmp_path / "config.yaml", tmp_path / "..data"
    data.symlink_to("1")
    path.symlink_to("..data/config.yaml")

    def swap(name: str) -> None:
        (tmp_path / "new").symlink_to(name)
        (tmp_path / "new").replace(data)

    async with serving(upstream.url, f"--config={path}") as proxy:
        swap("2")
        await proxy.logged("configuration reloaded")
        await finish(*await ask(proxy, upstream))
        swap("3")
        problem = (await proxy.logged("configuration not reloaded, the old one stays"))["problem"]
        await finish(*await ask(proxy, upstream))
        samples = await scrape(proxy.admin_port)

    assert problem.startswith("slo.ttft: ")
    assert samples.total("goodput_config_last_reload_successful") == 0
    assert samples.total("goodput_slo_threshold_seconds", dimension="ttft") == 1e-6
    assert samples.verdicts() == {("slow", "ttft"): 2}


async def test_without_a_file_a_signal_is_harmless(upstream: FakeUpstream) -> None:
    """SIGHUP ends no proxy: it reads what there is to read."""
    async with serving(upstream.url) as proxy:
        proxy.signal(signal.SIGHUP)
        assert (await proxy.logged("configuration reloaded"))["changed"] == []
        await finish(*await ask(proxy, upstream))
        assert (await scrape(proxy.admin_port)).verdicts() == {("good_partial", ""): 1}
