"""Commands about one person's rights: consent and its proof, a copy of everything, erasure.

Invariant: who asked and when is noted.
"""
