"""Anlass: customer touchpoints in, the right message out.

Invariant: importing the package does nothing; what runs is built in `engine.bootstrap` and nowhere else.
"""

__all__ = ["__version__"]

__version__ = "0.1.0"
