"""What a template can call and reach while it renders: filters, tests, values.

Invariant: bounded in work and in what is built.
"""
