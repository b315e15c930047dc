"""The version of the core distribution, for files and reports, without importing the package."""

__version__ = "0.1.0.dev0"
