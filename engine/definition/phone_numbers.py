"""Reads telephone numbers as people and shops write them, for a catalog.

Invariant: total. A text is a number that is given out somewhere, in E.164, or none with its reason, which never repeats it.
"""

from __future__ import annotations

import functools
import re
from typing import NamedTuple

import msgspec
import phonenumbers
from phonenumbers import NumberParseException, PhoneNumberType, ValidationResult

from engine.core.catalog import Catalog
from engine.core.reading.countries import read_country
from engine.core.time.zone import COUNTRY_ZONES

CHARS_MAX = 60
_KEPT_MAX = 4_096
_REASONS = {
    NumberParseException.INVALID_COUNTRY_CODE: "it begins with no country's code, and the customer's country is not known",
    NumberParseException.NOT_A_NUMBER: "it is not a telephone number",
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
TWO_READINGS = "it can be two numbers; write it with + and the country's code"
_PLUS = ("+", "\uff0b")
_EXTENSION = re.compile(r"(?:ext|extension|x|dw|durchwahl|#)[.:\s]*\d{1,7}\s*$", re.IGNORECASE)
_MOBILE = (PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE_OR_MOBILE)
_NOBODYS = {
    PhoneNumberType.PREMIUM_RATE: "it is a premium-rate number",
    PhoneNumberType.SHARED_COST: "it is a service number",
    PhoneNumberType.TOLL_FREE: "it is a service number",
    PhoneNumberType.UAN: "it is a service number",
    PhoneNumberType.VOICEMAIL: "it is a voicemail",
    PhoneNumberType.PAGER: "it is a pager",
}


class NumberReader:
    """Called with a text and a country (an ISO code, "": the project's): (E.164, "") or ("", why not)."""

    def __init__(self, own: str) -> None:
        """`own` is the project's country, "" when it has none."""
        self.own = own

    def __call__(self, text: str, country: str) -> tuple[str, str]:
        """As the class says. A country that is said and has no numbers is none: it never falls back."""
        if not country.strip():
            return read_number(text, self.own)
        code = read_country(country)[0]
        return read_number(text, code if code in phonenumbers.SUPPORTED_REGIONS else "")

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
    """(E.164, "") or ("", why it is none). `country` is that of a number that names none; "": there is none.

    A number without `+` or `00` is one of the country. Where it begins with the country's own calling code and is a
    mobile number with it, it is that one. Where it could be two numbers, it is none.
    """
    text = text.strip().removeprefix("'").strip()
    if text[:4].lower() == "tel:":
        text = _global(text[4:])
    if len(text) > CHARS_MAX:
        return "", "it is too long"
    if _EXTENSION.search(text):
        return "", "it has an extension"
    if any(char.isalpha() or ord(char) < 0x20 for char in text):  # noqa: PLR2004 - control characters
        return "", "it has letters in it"
    bare = text.lstrip("( \u00a0\t")
    if bare.startswith(_PLUS):
        return _as_number(_read(text, ""))
    if bare.startswith("00"):  # as most of the world dials abroad, whatever the customer's country does
        return _one_of(_read(f"+{bare[2:]}", ""), _read(text, country))
    national = _read(text, country)
    return _as_number(national) if not country else _bare(text, country, national)


def _global(text: str) -> str:
    """A `tel:` link's number with its context, RFC 3966: `0151;phone-context=+49` begins with the context's code."""
    number, *parameters = text.lstrip("/").replace("%2B", "+").replace("%20", " ").split(";")
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.lower() == "ext" and value:
            return f"{number} ext {value}"
        if name.lower() == "phone-context" and value.startswith("+") and not number.strip().startswith("+"):
            number = f"{value} {number}"
    return number


class _Reading(NamedTuple):
    """A number as it was read, or why not."""

    number: str
    reason: str
    kind: int = PhoneNumberType.UNKNOWN


def _as_number(reading: _Reading) -> tuple[str, str]:
    return reading.number, reading.reason


def _one_of(first: _Reading, second: _Reading) -> tuple[str, str]:
    if first.number and second.number and first.number != second.number:
        return "", TWO_READINGS
    return _as_number(first if first.number or not second.number else second)


def _bare(text: str, country: str, national: _Reading) -> tuple[str, str]:
    """A number that begins neither with `+` nor with `00`, in a country."""
    digits = phonenumbers.normalize_digits_only(text)
    trunk, own = _trunk_prefix(country), str(phonenumbers.country_code_for_region(country))
    if trunk and digits.startswith(trunk):
        rest = digits[len(trunk) :]
        abroad = _read(f"+{rest}", "") if rest.startswith(own) else national
        return _as_number(national) if not _is_rather(abroad, national) else ("", TWO_READINGS)
    abroad = _read(f"+{digits}", "")
    if abroad.number == national.number:
        return _as_number(national)
    if not digits.startswith(
        own
    ):  # nobody's own code: in doubt between our landline and a mobile number elsewhere it is neither
        doubtful = trunk and national.number and _is_rather(abroad, national)
        return ("", TWO_READINGS) if doubtful else _as_number(national)
    if _is_rather(abroad, national) or not national.number:
        return _as_number(abroad)
    if abroad.number:
        return "", TWO_READINGS
    if (
        trunk and national.kind not in _MOBILE
    ):  # a digit is missing or too many; without its zero it would be a stranger's landline
        return "", "no such number is given out"
    return _as_number(national)


def _is_rather(abroad: _Reading, national: _Reading) -> bool:
    """Whether it is a mobile number with a country's code and at home at most a landline."""
    return (
        bool(abroad.number)
        and abroad.number != national.number
        and abroad.kind in _MOBILE
        and (not national.number or national.kind not in _MOBILE)
    )


@functools.cache
def _trunk_prefix(country: str) -> str:
    """What the country's people dial before an area code; "" where they dial nothing, or the number is whole without it."""
    return phonenumbers.ndd_prefix_for_region(country, strip_non_digits=True) or ""


def _read(text: str, country: str) -> _Reading:
    try:
        number = phonenumbers.parse(text, country or None)
    except NumberParseException as error:
        return _Reading("", _REASONS.get(error.error_type, "it is not a telephone number"))
    if number.extension:
        return _Reading("", "it has an extension")
    length = _LENGTHS.get(phonenumbers.is_possible_number_with_reason(number))
    if length is not None:
        return _Reading("", length)
    if not phonenumbers.is_valid_number(number):
        return _Reading("", "no such number is given out")
    kind = phonenumbers.number_type(number)
    nobody = _NOBODYS.get(kind)
    if nobody is not None:
        return _Reading("", nobody)
    return _Reading(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164), "", kind)
