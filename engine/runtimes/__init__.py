"""Hosts for the core: the same catalog, the same decisions, on different logs and stores. Invariant: hosts never decide."""
