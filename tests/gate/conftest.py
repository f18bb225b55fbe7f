"""Fixtures of the integration tests: the gate, too, looks at running proxies."""

from tests.integration.conftest import start_proxy, upstream

__all__ = ["start_proxy", "upstream"]
