"""What works and is probably not as meant: the warnings that only `anlass check` looks for.

Invariant: warnings only; each has a code of its own, listed in docs/marketers/check-codes.md, and can be silenced in place.
"""
