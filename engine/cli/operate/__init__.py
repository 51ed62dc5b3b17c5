"""Commands of who runs a project. Invariant: work is done by writing records, and noted in the audit log."""
