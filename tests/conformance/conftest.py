"""The promises of docs/behaviour.md, from raw sockets on both sides of the real proxy.

The number in a test's name is that of its promise. The tools are those of the integration tests:
`Peer` is one end of a connection and `FakeUpstream` accepts them
(tests/integration/fake_upstream.py), `RunningProxy` stands in between
(tests/integration/harness.py).
"""

from __future__ import annotations

from tests.integration.conftest import proxy, start_proxy, upstream

__all__ = ["proxy", "start_proxy", "upstream"]
