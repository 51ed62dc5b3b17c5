"""The role that sends: owns partitions of `dispatches`, with a ledger each.

Invariant: a claim is durable before a provider is called.
"""
