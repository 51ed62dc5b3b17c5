"""What both databases have in common: how their SQL is read, and the questions that are asked of either.

Invariant: nothing here knows which store it speaks of; what only one of them has stands in that one's `sql/`.
"""
