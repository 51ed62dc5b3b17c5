"""YAML text to plain data of the right shape, with the place of everything.

Invariant: every misfit is reported at its line and column.
"""
