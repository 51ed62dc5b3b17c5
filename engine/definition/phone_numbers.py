"""Reads telephone numbers as people and shops write them, for a catalog.

Invariant: total. A text is a number that is given out somewhere, in E.164, or none with its reason, which never repeats it.
"""

from __future__ import annotations

import functools

import msgspec
import phonenumbers
from phonenumbers import NumberParseException, PhoneNumberType, ValidationResult

from engine.core.catalog import Catalog
from engine.core.zone import COUNTRY_ZONES

CHARS_MAX = 60
_KEPT_MAX = 4_096
_REASONS = {
    NumberParseException.INVALID_COUNTRY_CODE: "it begins with no country's code, and the customer's country is not known",
    NumberParseException.NOT_A_NUMBER: "it is no telephone number",
    NumberParseException.TOO_SHORT_AFTER_IDD: "it is too short",
    NumberParseException.TOO_SHORT_NSN: "it is too short",
    NumberParseException.TOO_LONG: "it is too long",
}
_LENGTHS = {
    ValidationResult.TOO_SHORT: "it is too short",
    ValidationResult.TOO_LONG: "it is too long",
    ValidationResult.INVALID_LENGTH: "it has a wrong length",
    ValidationResult.INVALID_COUNTRY_CODE: "it begins with no country's code",
    ValidationResult.IS_POSSIBLE_LOCAL_ONLY: "it has no area code",
}
_NOBODYS = {
    PhoneNumberType.PREMIUM_RATE: "it is a premium-rate number",
    PhoneNumberType.SHARED_COST: "it is a service number",
    PhoneNumberType.TOLL_FREE: "it is a service number",
    PhoneNumberType.UAN: "it is a service number",
    PhoneNumberType.VOICEMAIL: "it is a voicemail",
    PhoneNumberType.PAGER: "it is a pager",
}


class NumberReader:
    """Called with a text and a country (ISO alpha-2, any case, "": the project's): (E.164, "") or ("", why not)."""

    def __init__(self, own: str) -> None:
        """`own` is the project's country, "" when it has none."""
        self.own = own

    def __call__(self, text: str, country: str) -> tuple[str, str]:
        """As the class says."""
        code = country.strip().upper()
        return read_number(text, code if code in phonenumbers.SUPPORTED_REGIONS else self.own)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, NumberReader) and other.own == self.own

    def __hash__(self) -> int:
        return hash(self.own)


def with_phone_numbers(catalog: Catalog) -> Catalog:
    """The catalog that reads numbers. The project's country: the policy's `country`, else the one whose only zone is its zone."""
    countries = [country for country, zone in COUNTRY_ZONES.items() if zone == catalog.policy.zone]
    own = catalog.policy.country or (countries[0] if len(countries) == 1 else "")
    return msgspec.structs.replace(catalog, read_phone=NumberReader(own))


def is_country(code: str) -> bool:
    """Whether numbers of this country (two capital letters) are known."""
    return code in phonenumbers.SUPPORTED_REGIONS


@functools.lru_cache(maxsize=_KEPT_MAX)
def read_number(text: str, country: str) -> tuple[str, str]:
    """(E.164, "") or ("", why it is none). `country` is that of a number that names none; "": there is none."""
    text = text.strip()
    if len(text) > CHARS_MAX:
        return "", "it is too long"
    if any(char.isalpha() or ord(char) < 0x20 for char in text):  # noqa: PLR2004 - control characters
        return "", "it is no telephone number"
    found = _read(text, country)
    if not found[0] and text.startswith(
        "00"
    ):  # as most of the world dials abroad, whatever the customer's country does
        abroad = _read(f"+{text[2:]}", "")
        return abroad if abroad[0] or not country else found
    return found


def _read(text: str, country: str) -> tuple[str, str]:
    try:
        number = phonenumbers.parse(text, country or None)
    except NumberParseException as error:
        return "", _REASONS.get(error.error_type, "it is no telephone number")
    if number.extension:
        return "", "it has an extension"
    length = _LENGTHS.get(phonenumbers.is_possible_number_with_reason(number))
    if length is not None:
        return "", length
    if not phonenumbers.is_valid_number(number):
        return "", "no such number is given out"
    nobody = _NOBODYS.get(phonenumbers.number_type(number))
    if nobody is not None:
        return "", nobody
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164), ""
