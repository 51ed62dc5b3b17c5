"""Commands that start processes. Invariant: each says where it is reached, and leaves in order."""
