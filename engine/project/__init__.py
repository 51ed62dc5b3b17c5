"""A project as its folder says: opened, checked, doubted, with its store or its cluster.

Invariant: nothing here runs by itself.
"""
