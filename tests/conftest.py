"""What every test shares: the event loop of production, and what to do without a program."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, NoReturn

import pytest
import uvloop

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run the tests on the loop that the command runs on: its transports differ from asyncio's."""
    return {"uvloop": uvloop.new_event_loop}


def skip_or_fail(message: str) -> NoReturn:
    """Skip a test for want of a program.

    `GOODPUT_REQUIRE_SERVERS=1` turns the skip into a failure, so that a pipeline which is meant
    to have every program cannot pass without them.
    """
    if os.environ.get("GOODPUT_REQUIRE_SERVERS") == "1":
        pytest.fail(message)
    pytest.skip(message)


def require_program(name: str) -> str:
    """Return the path of a program that a test drives; without it the test is skipped."""
    path = shutil.which(name)
    if path is None:
        skip_or_fail(f"{name} is not installed")
    return path
