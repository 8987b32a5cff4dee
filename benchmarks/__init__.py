"""Measurements of speed and memory, each as a ratio against the plain way in the same run: ``python -m benchmarks``."""
