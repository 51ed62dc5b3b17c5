"""The rows of one partition: their changelog, their copy on disk, what arrives and what leaves.

Invariant: the changelog says what is true.
"""
