"""Benchmarks of MML against hand-written loops and other libraries: `python -m benchmarks NAME`."""
