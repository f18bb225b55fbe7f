"""Addresses: where to listen, where the inference server is, and what is wrong with others."""

from __future__ import annotations

import pytest
from pydantic import TypeAdapter

from goodput_proxy.address import (
    Listen,
    ListenAddress,
    Upstream,
    UpstreamAddress,
    is_listening_at,
    parse_listen,
    parse_upstream,
)


@pytest.mark.parametrize(
    ("text", "address", "shown"),
    [
        ("127.0.0.1:9000", Listen("127.0.0.1", 9000), "127.0.0.1:9000"),
        ("0.0.0.0:0", Listen("0.0.0.0", 0), "0.0.0.0:0"),
        (":9000", Listen("0.0.0.0", 9000), "0.0.0.0:9000"),
        ("localhost:65535", Listen("localhost", 65535), "localhost:65535"),
        ("[::1]:9000", Listen("::1", 9000), "[::1]:9000"),
    ],
)
def test_listen_addresses(text: str, address: Listen, shown: str) -> None:
    """HOST:PORT is read and shown again; an empty host is every interface."""
    assert parse_listen(text) == address
    assert str(address) == shown


@pytest.mark.parametrize(
    "text",
    [
        *("", "9000", "localhost", "localhost:", "localhost:http", "localhost:-1", "1.2.3.4:65536"),
        *("::1:9000", "[::1:9000", "http://127.0.0.1:9000", "localhost:٣"),
    ],
)
def test_what_is_no_listen_address(text: str) -> None:
    """Everything else is refused with an example; IPv6 needs its brackets."""
    with pytest.raises(ValueError, match=r"is not an address: expected HOST:PORT, such as 0\.0"):
        parse_listen(text)


@pytest.mark.parametrize(
    ("text", "upstream", "shown"),
    [
        ("http://vllm:8000", Upstream("vllm", 8000), "http://vllm:8000"),
        ("http://vllm:8000/", Upstream("vllm", 8000), "http://vllm:8000"),
        ("HTTP://vLLM", Upstream("vllm", 80), "http://vllm:80"),
        ("https://vllm", Upstream("vllm", 443, tls=True), "https://vllm:443"),
        ("http://[::1]:8000", Upstream("::1", 8000), "http://[::1]:8000"),
        ("unix:/run/a.sock", Upstream(path="/run/a.sock"), "unix:/run/a.sock"),
        ("unix:///run/a.sock", Upstream(path="/run/a.sock"), "unix:/run/a.sock"),
    ],
)
def test_upstreams(text: str, upstream: Upstream, shown: str) -> None:
    """A scheme with host and port, or a socket's path, is read and shown again."""
    assert parse_upstream(text) == upstream
    assert str(upstream) == shown


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is not an upstream"),
        ("vllm:8000", "is not an upstream"),
        ("127.0.0.1:8000", "is not an upstream"),
        ("ftp://vllm", "is not an upstream"),
        ("http://", "is not an upstream"),
        ("http://:8000", "is not an upstream"),
        ("http://vllm:0", "is not an upstream"),
        ("http://v llm:8000", "is not an upstream"),
        ("http://vllm:8000 ", "is not a URL (Port could not be cast"),
        ("http://vllm:99999", "is not a URL (Port out of range 0-65535)"),
        ("http://vllm:http", "is not a URL (Port could not be cast"),
        ("http://[::1:8000", "is not a URL (Invalid IPv6 URL)"),
        ("http://vllm:8000/v1", "there is more than scheme, host and port"),
        ("http://vllm:8000/?a=b", "there is more than scheme, host and port"),
        ("http://vllm:8000#a", "there is more than scheme, host and port"),
        ("http://me:pw@vllm:8000", "there is more than scheme, host and port"),
        ("unix:", "has no absolute path"),
        ("unix:run/a.sock", "has no absolute path"),
    ],
)
def test_what_is_no_upstream(text: str, reason: str) -> None:
    """Everything else is refused, with what is wrong and what would be right."""
    with pytest.raises(ValueError, match="expected http://HOST:PORT") as caught:
        parse_upstream(text)
    assert reason in str(caught.value)


def test_addresses_are_taken_as_they_are_and_written_as_text() -> None:
    """What is an address already is not parsed again; in JSON it is text."""
    listen, upstream = Listen("::1", 1), Upstream("vllm", 1)
    assert parse_listen(listen) is listen
    assert parse_upstream(upstream) is upstream
    assert TypeAdapter(ListenAddress).dump_json(listen) == b'"[::1]:1"'
    assert TypeAdapter(UpstreamAddress).dump_json(upstream) == b'"http://vllm:1"'
    for adapter in (TypeAdapter(ListenAddress), TypeAdapter(UpstreamAddress)):
        assert adapter.json_schema()["type"] == "string"


@pytest.mark.parametrize(
    ("listen", "host", "port", "local", "same"),
    [
        ("0.0.0.0:9000", "127.0.0.1", 9000, False, True),
        ("0.0.0.0:9000", "localhost", 9000, False, True),
        ("[::]:9000", "::1", 9000, False, True),
        ("0.0.0.0:9000", "0.0.0.0", 9000, False, True),
        ("0.0.0.0:9000", "127.0.0.1", 9001, False, False),
        ("0.0.0.0:9000", "192.0.2.1", 9000, False, False),
        ("0.0.0.0:9000", "192.0.2.1", 9000, True, True),
        ("0.0.0.0:9000", "vllm", 9000, False, False),
        ("127.0.0.2:9000", "127.0.0.2", 9000, False, True),
        ("127.0.0.2:9000", "127.0.0.1", 9000, True, False),
        ("localhost:9000", "localhost", 9000, False, True),
        ("0.0.0.0:0", "", 0, False, False),
    ],
)
def test_whether_a_listener_has_an_address(
    listen: str, host: str, port: int, *, local: bool, same: bool
) -> None:
    """Only what is certain counts: a name may stand for any host."""
    assert is_listening_at(parse_listen(listen), host, port, local=local) == same
