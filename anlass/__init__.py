"""Anlass, for those who build on it: `anlass.adapter` to write a channel, `anlass.testing` to test one, or a project.

Invariant: what these modules name keeps its name and its meaning from one minor version to the next. Everything else, in
`engine` and `channels`, may move at any time. Importing the package does nothing.
"""

from engine import __version__

__all__ = ["__version__"]
