"""Times, zones, windows, and when a message may leave. Invariant: as of the core; no clock is read."""
