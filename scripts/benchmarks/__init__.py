"""Benchmarks, one module for each aim: `scripts/bench [NAME ...]` prints one JSON object a line."""
