"""What operators read in a cluster and write to it, beside the roles.

Invariant: it joins no group, so no partition changes its owner.
"""
