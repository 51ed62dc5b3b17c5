"""The roles that meet on Kafka, one module each.

Invariant: a role looks at the topics first, and finishes what it took.
"""
