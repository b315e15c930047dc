"""MML (Modular ML): compose machine-learning experiments out of parts that know nothing of each other."""

__version__ = "0.1.0.dev0"
