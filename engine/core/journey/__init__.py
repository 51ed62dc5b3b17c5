"""A customer's way through workflows: entering, waiting, sending, and what came of it. Invariant: as of the core."""
