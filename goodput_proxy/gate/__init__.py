"""`goodput-proxy gate`: whether the goodput of a window is good enough, as an exit code.

Knows the proxy from outside: by the metrics that it exports, and nothing else.
"""
