"""The demonstration: a simulated inference server, users, and the real proxy between them.

Nothing in the proxy imports this package, and only `stage` imports the proxy. A story is a row of
`scenarios`; `run` tells it. The order of imports is `engine`, `faults`, `workload`, `shapes <
server`; `records < load`; `verdicts`, `knee < outcome`; `plot < terminal < table < report`;
`document < export`; `scenarios < stage < run` above them all, and `settings`, which makes its
options of flags.
"""
