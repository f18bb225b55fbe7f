"""The demonstration: a simulated inference server, a ramping load, and the real proxy between them.

Nothing in the proxy imports this package, and only `run` imports the proxy. The order of imports is
`engine < shapes < server`, `records < load`, `scrape < outcome < report`, `plot < report`, then
`run` above them all, and `settings`, which makes its options of flags.
"""
