"""From the outbox to a provider: what may leave now, how it is tried again, what was answered.

Invariant: claimed before it is sent.
"""
