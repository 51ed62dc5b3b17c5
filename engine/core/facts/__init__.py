"""What is known about a customer: traits, addresses, counts, segments, and two ids that are one person.

Invariant: as of the core.
"""
