"""Names that Segment reserves for traits and its e-commerce specification for properties, in their two spellings.

Invariant: data and a table. The canonical spelling is `snake_case`; a reader asks for both, so that nothing depends on
which SDK wrote a name or when. Names that are not reserved are never touched.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

TRAITS = ("first_name", "last_name", "created_at", "postal_code")
"""Reserved traits of two words; those of one word have one spelling. In `address` it is `postalCode`, as Segment documents."""
_PROPERTY_NAMES = """
affiliate_id cart_id cart_total checkout_id coupon_id coupon_name discount_total external_id image_url list_id order_id
payment_method product_id product_ids promotion_id review_body review_id share_message share_via shipping_method sort_by
step_number total_price unit_price url_path wishlist_id wishlist_name wishlist_product_name variant_id tracking_number
tracking_url refund_id order_number checkout_url cart_url order_url product_url delivery_date estimated_delivery
postal_code first_name last_name created_at group_id
"""
PROPERTIES = tuple(_PROPERTY_NAMES.split())
"""Properties of the specification (and those that shops send beside them) of two words and more."""


def camel(name: str) -> str:
    """`postal_code` → `postalCode`."""
    first, *rest = name.split("_")
    return first + "".join(word[:1].upper() + word[1:] for word in rest)


CANONICAL: dict[str, str] = {camel(name): name for name in (*TRAITS, *PROPERTIES)}
"""`postalCode` → `postal_code`."""
OTHER: dict[str, str] = {**CANONICAL, **{name: spelt for spelt, name in CANONICAL.items()}}
"""Each spelling → the other one."""
_TRAIT_OF = {camel(name): name for name in TRAITS}
_MISSPELT = {"firstname": "first_name", "lastname": "last_name", "timeZone": "timezone", "time_zone": "timezone"}


def spelt_in_one_way(traits: Mapping[str, Any]) -> Mapping[str, Any]:
    """The traits under their canonical names, `address` too, or the same object. The canonical spelling wins."""
    found = _renamed(traits, {**_TRAIT_OF, **_MISSPELT})
    address = found.get("address")
    if isinstance(address, dict):
        inside = _renamed(address, {"postal_code": "postalCode"})
        if inside is not address:
            found = {**found, "address": dict(inside)}
    return found


def _renamed(given: Mapping[str, Any], names: Mapping[str, str]) -> Mapping[str, Any]:
    if names.keys().isdisjoint(given):
        return given
    kept = {name: value for name, value in given.items() if name not in names}
    for name, value in given.items():
        if name in names and kept.get(names[name]) is None:
            kept[names[name]] = value
    return kept


def value_of(data: Mapping[str, Any], name: str) -> Any:
    """The value under that name, or under its other spelling; None when it is under neither."""
    value = data.get(name)
    if value is None and name in OTHER:
        return data.get(OTHER[name])
    return value
