"""The compiled build does what the sources say: their tests pass with it, too."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench import compiled
from tests.conftest import skip_or_fail

ROOT = Path(__file__).parent.parent
# What is compiled, then all of it together between real sockets, the slow ones left out.
TESTS = (
    *("stream/test_reader.py", "stream/test_sse.py", "test_heads.py", "test_relay.py"),
    "test_tap.py",
    *("test_timeline.py", "test_upstream.py", "conformance/test_counting.py"),
    *("conformance/test_failure.py", "conformance/test_flow.py", "conformance/test_leaving.py"),
    *("integration/test_requests.py", "integration/test_responses.py"),
    *("test_tunnel.py", "test_realtime.py", "integration/test_tunnel.py"),
    *("conformance/test_framing.py", "conformance/test_headers.py"),
    *("conformance/test_streaming.py", "conformance/test_upgrade.py"),
)
IS_COMPILED = (
    "from goodput_proxy import heads, relay, tap, timeline, upstream;"
    "from goodput_proxy.stream import reader;"
    "modules = heads, reader, relay, tap, timeline, upstream;"
    "assert not any(m.__file__.endswith('.py') for m in modules)"
)


@pytest.mark.timeout(300)
def test_the_compiled_build_passes_the_tests_of_its_sources() -> None:
    """What is built with `GOODPUT_COMPILE=1` behaves as the pure build does."""
    if why := compiled.missing():
        skip_or_fail(why)
    environment = {**os.environ, **compiled.environment(compiled.build())}
    subprocess.run([sys.executable, "-c", IS_COMPILED], env=environment, check=True)
    paths = [str(ROOT / "tests" / name) for name in TESTS]
    command = [sys.executable, "-m", "pytest", "--quiet", "-p", "no:cacheprovider", *paths]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, check=False, capture_output=True, text=True
    )

    assert done.returncode == 0, done.stdout[-5000:]
