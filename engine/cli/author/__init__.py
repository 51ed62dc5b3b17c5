"""Commands of who writes a project: before anything runs.

Invariant: nothing reaches a customer, except one message by `send-test`.
"""
