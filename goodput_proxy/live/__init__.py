"""What the proxy shows of itself without a Prometheus: the live page and the JSON API.

`history` remembers, in bounded memory and without a clock of its own; `summary` and `requestlist`
make the documents of the API of it, `feed` sends them to whoever looks, and `routes` serves all
of it on the admin listener. While nobody looks, nothing is done beyond the few counts that
`history` takes of each request.
"""
