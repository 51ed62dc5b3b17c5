"""How many examples a property takes, where it wants a number of its own.

Invariant: in the first tier at home no property takes more than the profile says; elsewhere, in CI's first tier too, each takes
its own number.
"""

from hypothesis import settings


def examples(number: int) -> int:
    """For `max_examples`: that many, or as few as `make test` wants."""
    return min(number, settings().max_examples) if settings.get_current_profile_name() == "first" else number
