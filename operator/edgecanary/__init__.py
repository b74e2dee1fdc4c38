"""edgecanary: safe delivery of ML models to edge fleets."""

__version__ = "0.1.0"
