"""The side-by-side: what a streamed token costs in goodput-proxy and in its peers.

Same upstream, same client, same pinning for every row; the proxy under test has one
core to itself, upstream and client share another. Nothing here is imported by the
package; `python -m bench` (or `make bench`) is the only way in.

Import order: load < plain_aiohttp, upstream, client < process < peers < measure <
report < __main__.
"""
