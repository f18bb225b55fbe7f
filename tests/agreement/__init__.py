"""The proxy beside the benchmarks whose numbers it claims: the same requests, counted by each."""
