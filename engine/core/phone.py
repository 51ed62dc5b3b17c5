"""The trait `phone` in the one form that channels, consent and answers know it by: E.164, such as +4915112345678.

Invariant: a number that cannot be used is not stored; the rest of what came with it is, and the journal says why.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from engine.core.turn import Turn

TRAIT, COUNTRY_TRAIT = "phone", "country"
NO_TEXT = "it is no text"


def with_number(turn: Turn, traits: Mapping[str, Any]) -> Mapping[str, Any]:
    """The traits with their number in E.164; without it when it is none, which is one line in the journal.

    A number without a country is one of the customer's country (the trait `country`, of this record or from before), else of the
    project's.
    """
    value, read = traits.get(TRAIT), turn.catalog.read_phone
    if value is None or read is None:
        return traits
    country = traits.get(COUNTRY_TRAIT) or turn.state.traits.get(COUNTRY_TRAIT)
    if isinstance(value, str):
        number, reason = read(value, country if isinstance(country, str) else "")
    else:
        number, reason = "", NO_TEXT
    if number == value:
        return traits
    if number:
        return {**traits, TRAIT: number}
    turn.decide("trait_refused", trait=TRAIT, reason=reason)
    return {name: each for name, each in traits.items() if name != TRAIT}
