"""One name for one mailbox: what consent, suppression, duplicates and whatever else knows an address compare.

Invariant: `canonical` of a canonical address is itself, and two ways of writing one mailbox (`Ana@BÜCHER.example.`,
`<ana@xn--bcher-kva.example>`) give the same one. What was kept under an older rule is found by `former`.
"""

from __future__ import annotations

import functools
import unicodedata

import idna

_MAILTO = "mailto:"
_ASCII_PREFIX = "xn--"


def plain(value: str) -> str:
    """The address without what people and programs put around it: a name and brackets, `mailto:`, the dot of the root."""
    address = value.strip()
    if address.endswith(">") and "<" in address:
        address = address.rpartition("<")[2][:-1].strip()
    if address[: len(_MAILTO)].lower() == _MAILTO:
        address = address[len(_MAILTO) :].strip()
    return address.rstrip(".") if "@" in address else address


def canonical(value: str) -> str:
    """The mailbox by the one name that everything is kept under: NFC, small letters, the domain in its ASCII form.

    What is not a mail address only loses its blanks and capitals.
    """
    address = plain(value)
    local, at, domain = address.rpartition("@")
    if not at:
        return address.lower()
    return f"{unicodedata.normalize('NFC', unicodedata.normalize('NFC', local).lower())}@{domain_key(domain)}"


def domain_key(domain: str) -> str:
    """The domain in small ASCII letters, as IDNA 2008 and UTS 46 say; as it is, in small letters, where they know none."""
    domain = domain.rstrip(".")
    if domain.isascii():
        return domain.lower()
    return _ascii(domain)


@functools.lru_cache(maxsize=4_096)
def _ascii(domain: str) -> str:
    try:
        return idna.encode(domain, uts46=True, std3_rules=False, transitional=False).decode("ascii").lower().rstrip(".")
    except (idna.IDNAError, UnicodeError):
        return unicodedata.normalize("NFC", domain).lower()


@functools.lru_cache(maxsize=4_096)
def _unicode(domain: str) -> str:
    if _ASCII_PREFIX not in domain:
        return domain
    try:
        return idna.decode(domain, uts46=True, std3_rules=False)
    except (idna.IDNAError, UnicodeError):
        return domain


def former(value: str) -> tuple[str, ...]:
    """The other texts under which the same mailbox may have been kept before there was one name for it."""
    name = canonical(value)
    local, at, domain = name.rpartition("@")
    if not at:
        return tuple(dict.fromkeys(each for each in (value.strip().casefold(), value.strip().lower()) if each != name))
    written = _unicode(domain)
    found: dict[str, None] = {}
    for one in (local, local.casefold(), unicodedata.normalize("NFD", local)):
        for other in (domain, written, unicodedata.normalize("NFD", written), written.casefold()):
            for text in (f"{one}@{other}", f"{one}@{other}.", f"<{one}@{other}>"):
                found[text] = None
    found |= dict.fromkeys((value.strip().lower(), value.strip().casefold()))
    found.pop(name, None)
    return tuple(found)


def kept_as(value: str) -> tuple[str, ...]:
    """Every text that the mailbox may be kept under, the canonical one first: what a look-up has to ask for."""
    return (canonical(value), *former(value))
