"""The templates of a project: read, checked, compiled once, rendered per recipient.

Invariant: what is wrong is found while loading.
"""
