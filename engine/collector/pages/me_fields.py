"""The fields of "my details": which traits they are, and what may stand in them.

Invariant: pure. Whatever is filled in becomes traits, or the names of the fields that are wrong; nothing is cut or guessed.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

import msgspec

from engine.core.consent.may_send import clean_address, normal_address
from engine.core.facts import naming

TEXT_CHARS_MAX = 100
BIRTH_YEAR_MIN = 1900
_NOT_EMAIL = frozenset('\t"(),:;<>[]\\ ')


class FormField(msgspec.Struct, frozen=True):
    """One field. `trait` may lie in an object (`address.city`); `complete` is HTML's word for what a browser may fill in."""

    name: str
    trait: str
    kind: str
    complete: str


FIELDS = (
    FormField("first_name", "first_name", "text", "given-name"),
    FormField("last_name", "last_name", "text", "family-name"),
    FormField("street", "address.street", "text", "street-address"),
    FormField("postal_code", "address.postalCode", "text", "postal-code"),
    FormField("city", "address.city", "text", "address-level2"),
    FormField("country", "address.country", "text", "country-name"),
    FormField("birthday", "birthday", "date", "bday"),
    FormField("locale", "locale", "language", "off"),
    FormField("email", "email", "email", "email"),
)


class Filled(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a form: traits that changed (None: removed), a new e-mail address, wrong fields, and the texts as written."""

    traits: dict[str, Any]
    email: str
    wrong: frozenset[str]
    written: dict[str, str]


def shown_value(field: FormField, traits: Mapping[str, Any]) -> str:
    """What stands in the field now; "" for what is not text."""
    trait, _, member = field.trait.partition(".")
    value = traits.get(trait)
    if member:
        value = value.get(member) if isinstance(value, dict) else None
    if field.kind == "language" and isinstance(value, str):
        return value[:2].lower()
    if field.kind == "date" and isinstance(value, str):
        return value[:10]
    return value if isinstance(value, str) else ""


def filled(form: Mapping[str, list[str]], traits: Mapping[str, Any], *, now_ms: int) -> Filled:
    """Reads the form against what is known. A field that is not in the form stays as it is."""
    written: dict[str, str] = {}
    wrong: set[str] = set()
    changed: dict[str, Any] = {}
    email = ""
    for field in FIELDS:
        if field.name not in form:
            continue
        text = form[field.name][0].strip()
        written[field.name] = text
        if text == shown_value(field, traits):
            continue
        if not _sound(field, text, now_ms=now_ms):
            wrong.add(field.name)
        elif field.kind == "email":
            same = normal_address(text, "email") == normal_address(traits.get("email"), "email")
            email = "" if same else text
        else:
            _put(changed, traits, field, text)
    return Filled(
        traits={} if wrong else changed, email="" if wrong else email, wrong=frozenset(wrong), written=written
    )


def _put(changed: dict[str, Any], traits: Mapping[str, Any], field: FormField, text: str) -> None:
    trait, _, member = field.trait.partition(".")
    if not member:
        changed[trait] = text or None
        return
    known = changed.get(trait, traits.get(trait))
    inside = dict(known) if isinstance(known, dict) else {}
    if text:
        inside[member] = text
    else:
        inside.pop(member, None)
    changed[trait] = inside or None


def _sound(field: FormField, text: str, *, now_ms: int) -> bool:
    if not text.isprintable() or len(text) > (254 if field.kind == "email" else TEXT_CHARS_MAX):
        return False
    match field.kind:
        case "date":
            return not text or _is_birthday(text, now_ms)
        case "language":
            return text in {"en", "de"}
        case "email":
            domain = text.rpartition("@")[2].split(".")
            sound = bool(clean_address(text, "email")) and text.count("@") == 1 and not _NOT_EMAIL & set(text)
            return sound and len(domain) > 1 and all(domain)
        case _:
            return naming.is_name(text) if field.trait in naming.TRAITS else not naming.has_scheme(text)


def _is_birthday(text: str, now_ms: int) -> bool:
    try:
        day = dt.date.fromisoformat(text)
    except ValueError:
        return False
    today = dt.datetime.fromtimestamp(now_ms / 1000, dt.UTC).date()
    return len(text) == len("2000-01-01") and day.year >= BIRTH_YEAR_MIN and day <= today
