"""Measurements behind the documentation; run them with ``python -m benchmarks.<name>``."""
