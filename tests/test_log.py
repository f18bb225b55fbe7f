"""Logs: one event a line, and nothing of a request in it, not even when the proxy fails."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from typing import TYPE_CHECKING, Any, NoReturn

import pytest
import structlog

from goodput_proxy.app import App
from goodput_proxy.log import configure_logging
from goodput_proxy.proxy import Proxy
from goodput_proxy.settings import LogSettings, Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

SECRET = "sk-1234567890"  # noqa: S105 -- made up, to be looked for


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """Undo what `configure_logging` does to the process."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def read_lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """Return what was logged as JSON; nothing may stand on standard output."""
    out, err = capsys.readouterr()
    assert out == ""
    return [json.loads(line) for line in err.splitlines()]


def fail_with_a_secret() -> NoReturn:
    """Raise while a local variable holds what must not be logged."""
    authorization = f"Bearer {SECRET}"
    body = [authorization, {"content": SECRET}]
    raise RuntimeError(f"{len(body)} things went wrong")


def log_everything() -> None:
    """Log an event and a failure, as this program does and as libraries do."""
    ours, theirs = structlog.get_logger(), logging.getLogger("somebody")
    ours.info("listening", url="http://localhost:1")
    theirs.warning("slow: %d ms", 7)
    for log in (ours, theirs):
        try:
            fail_with_a_secret()
        except RuntimeError:
            log.exception("failed")


def test_json_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """Each event is one JSON object with its level and a UTC time, whoever logs it."""
    configure_logging(LogSettings())
    log_everything()
    lines = read_lines(capsys)
    assert [(line["level"], line["event"]) for line in lines] == [
        ("info", "listening"),
        ("warning", "slow: 7 ms"),
        ("error", "failed"),
        ("error", "failed"),
    ]
    assert lines[0]["url"] == "http://localhost:1"
    assert all(line["timestamp"].endswith("Z") for line in lines)


def test_json_tracebacks_hold_no_variables(capsys: pytest.CaptureFixture[str]) -> None:
    """A traceback says where and what, and not what the variables held."""
    configure_logging(LogSettings())
    log_everything()
    for line in read_lines(capsys)[2:]:
        (failure,) = line["exception"]
        assert failure["exc_type"] == "RuntimeError"
        assert failure["frames"][-1]["name"] == "fail_with_a_secret"
        assert SECRET not in json.dumps(line)
        assert "locals" not in json.dumps(line)


def test_lines_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    """The readable form has the same, without colours where nobody sees them."""
    configure_logging(LogSettings(json_lines=False))
    log_everything()
    err = capsys.readouterr().err
    assert "listening" in err
    assert "url=http://localhost:1" in err
    assert "slow: 7 ms" in err
    assert err.count("RuntimeError: 2 things went wrong") == 2
    assert SECRET not in err
    assert "\x1b" not in err


@pytest.mark.parametrize(
    ("level", "written"),
    [
        ("debug", ["debug", "info", "warning", "error"]),
        ("info", ["info", "warning", "error"]),
        ("warning", ["warning", "error"]),
        ("error", ["error"]),
    ],
)
def test_levels(level: str, written: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """What is below the level is not written, of this program as of libraries."""
    configure_logging(LogSettings.model_validate({"level": level}))
    for log in (structlog.get_logger(), logging.getLogger("somebody")):
        for name in ("debug", "info", "warning", "error"):
            getattr(log, name)(name)
    assert [line["event"] for line in read_lines(capsys)] == written * 2


def test_configuring_twice_logs_once(capsys: pytest.CaptureFixture[str]) -> None:
    """A second configuration takes the place of the first."""
    configure_logging(LogSettings(json_lines=False))
    configure_logging(LogSettings())
    structlog.get_logger().info("once")
    assert [line["event"] for line in read_lines(capsys)] == ["once"]


def test_standard_error_is_looked_up_when_configured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a terminal the readable form has colours."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    configure_logging(LogSettings(json_lines=False))
    structlog.get_logger().info("hello")
    assert "\x1b[" in capsys.readouterr().err


@pytest.mark.parametrize("json_lines", [True, False])
async def test_a_failing_handler_tells_nothing_of_its_request(
    json_lines: bool,  # noqa: FBT001 -- a parameter of the test
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """When the proxy itself fails, its log has a traceback without heads and bodies."""

    async def fail(self: Proxy, request: Any, follow: Any) -> bool:
        del self, follow
        headers, body = request.headers, await request.body.readany()
        raise RuntimeError(f"{len(headers)} headers, {len(body)} bytes")

    monkeypatch.setattr(Proxy, "handle", fail)
    configure_logging(LogSettings(json_lines=json_lines))
    app = App(Settings.load(["--listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0"]))
    await app.start()
    try:
        port = int(app.proxy_url.rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(
            b"POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Length: 13\r\n"
            b"Authorization: Bearer %b\r\n\r\n%b" % (SECRET.encode(), SECRET.encode())
        )
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
    finally:
        await app.stop()
    assert answer.startswith(b"HTTP/1.1 500 ")
    err = capsys.readouterr().err
    assert "a request failed inside the proxy" in err
    assert "3 headers, 13 bytes" in err
    assert SECRET not in err
    assert SECRET.encode() not in answer
    if json_lines:
        assert all(json.loads(line) for line in err.splitlines())
