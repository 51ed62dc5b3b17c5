"""Postal addresses: Segment's trait `address` as what a letter is addressed to.

Invariant: the same trait gives the same text; what lacks a street, a postal code or a city is not an address.
"""

from __future__ import annotations

import json

TRAIT = "address"
PART_CHARS_MAX = 200
_NAMES = {
    "street": ("street", "line1"),
    "extra": ("extra", "line2"),
    "postal_code": ("postal_code", "postalCode", "zip"),
    "city": ("city",),
    "state": ("state",),
    "country": ("country",),
}
_NEEDED = ("street", "postal_code", "city")


def address(value: object) -> str:
    """The JSON of the address's parts, or "" when it is none."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return ""
    if not isinstance(value, dict):
        return ""
    parts: dict[str, str] = {}
    for part, names in _NAMES.items():
        found = next((value[name] for name in names if isinstance(value.get(name), str | int)), "")
        text = " ".join(str(found).split())
        if len(text) > PART_CHARS_MAX or not text.isprintable():
            return ""
        if text:
            parts[part] = text
    return json.dumps(parts, ensure_ascii=False, sort_keys=True) if all(part in parts for part in _NEEDED) else ""
