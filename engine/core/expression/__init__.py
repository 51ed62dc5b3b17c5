"""What compiled expressions are, see and call. Invariant: as of the core."""
