"""Whether something may be sent to somebody, and the proof of it. Invariant: as of the core."""
