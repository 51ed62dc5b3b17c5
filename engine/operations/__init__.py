"""What operators do to a project, whichever runtime it has.

Invariant: everything is done by writing records, and is noted in the audit log.
"""
