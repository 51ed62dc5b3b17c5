"""Expressions, from their text to a Python function.

Invariant: whatever the text is, the answer is an Expression or BadExpression.
"""
