"""A local-first lakehouse for the daily metrics of social-media videos."""

__version__ = "0.1.0"
