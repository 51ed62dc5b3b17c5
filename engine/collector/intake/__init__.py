"""Where events come in: who may send them, and what of them becomes records.

Invariant: what is taken is durable before it is answered for.
"""
