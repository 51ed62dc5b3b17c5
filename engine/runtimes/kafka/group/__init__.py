"""Membership of a role in its consumer group.

Invariant: everything that touches Faust lies here; the other rooms know partitions only.
"""
