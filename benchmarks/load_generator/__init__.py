"""Load on a server from outside, with every answer kept: for benchmarks and for tests."""
