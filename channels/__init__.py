"""Adapters that carry a decided message to the outside; knows nothing of the engine.

Invariant: nothing under this package imports from ``engine``.
"""
