"""The role that evaluates: owns partitions of `touchpoints`.

Invariant: rows, effects and offset of a batch are one append.
"""
