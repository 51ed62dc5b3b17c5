"""Trying workflows out before they meet customers: tests and simulations in virtual time.

Invariant: rehearsals decide by the production evaluator and templates; nothing is sent and no network is used.
"""
