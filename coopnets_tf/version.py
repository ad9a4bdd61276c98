"""The version of the package; exports and runs carry it."""

__version__ = "0.3.0"
