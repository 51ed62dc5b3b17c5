"""The pure core: what is decided, as a function of definitions, a customer's state and one record.

Invariant: nothing here reads a clock, does I/O or draws a random number; the same arguments always give the same answer.
"""
