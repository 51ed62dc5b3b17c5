"""Refuses what would turn a customer's trait into somebody else's header, and reads addresses.

Invariant: a string that passed `refuse_unsafe` contains no CR, LF, other control character or encoded word, so it can
neither start a header line nor be decoded into one by a lenient parser (CVE-2024-6923).
"""

from __future__ import annotations

import functools
import re

import msgspec

from channels.contract import OutgoingMessage, PermanentError, Unsupported, Verdict

HEADER_CHARS_MAX = 2_000
HEADERS_MAX = 32
_ADDRESS_CHARS_MAX = 254
_LOCAL_CHARS_MAX = 64
_NAME_CHARS_MAX = 256

# C0, DEL, C1 and the separators that some parsers take for line ends; `=?` would start an encoded word.
_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]|=\?")
_HEADER_NAME = re.compile(r"[!-9;-~]{1,64}\Z")
_MAILBOX = re.compile(r"\s*(.*?)\s*<\s*([^<>\s]*)\s*>\s*\Z", re.DOTALL)
_LOCAL = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*\Z")
_DOMAIN = re.compile(
    r"(?=.{1,253}\Z)(?:[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9])?\.)*[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\Z"
)
_DOMAIN_LITERAL = re.compile(r"\[(?:IPv6:)?[0-9A-Fa-f:.]{2,45}\]\Z")
# IDNA 2003, which the standard library speaks, would send these to another domain than IDNA 2008 does.
_IDNA_DEVIATIONS = re.compile("[ßς\u200c\u200d]", re.IGNORECASE)
_URL = re.compile(r"(?:https?://|mailto:)[!-;=?-~]{1,980}\Z")
# Written by the adapter; a second one from outside would be a contradiction or an attack.
_OURS = frozenset(
    {"from", "sender", "to", "cc", "bcc", "reply-to", "subject", "date", "message-id", "mime-version", "return-path"}
    | {"received", "dkim-signature", "list-unsubscribe", "list-unsubscribe-post"}
    | {"content-type", "content-transfer-encoding", "content-disposition"}
)


class NamedAddress(msgspec.Struct, frozen=True):
    """A display name ("" if none) and an address whose domain is ASCII (IDNA)."""

    name: str
    address: str

    @property
    def domain(self) -> str:
        """The part after the @."""
        return self.address.rpartition("@")[2]


def refuse_unsafe(delivery: OutgoingMessage) -> None:
    """Raise `PermanentError` (verdict MESSAGE) if any header input of the message could leave its header."""
    for where, value in (
        ("the recipient's address", delivery.to),
        ("the recipient's name", delivery.to_name),
        ("the sender", delivery.from_),
        ("the reply-to address", delivery.reply_to),
        ("the subject", delivery.subject),
    ):
        check_value(where, value)
    url = delivery.list_unsubscribe_url
    if url is not None and not _URL.match(url):
        raise refused("the unsubscribe URL is not an http(s) or mailto URL of at most 980 ASCII characters")
    if len(delivery.headers) > HEADERS_MAX:
        raise refused(f"there are {len(delivery.headers)} extra headers; at most {HEADERS_MAX} are allowed")
    for name, value in delivery.headers:
        if not _HEADER_NAME.match(name):
            raise refused("the name of an extra header is not 1-64 printable ASCII characters without a colon")
        if name.lower() in _OURS:
            raise refused(f"the header {name} is written by the channel and cannot be set from outside")
        check_value(f"the header {name}", value)


def check_value(where: str, value: str) -> None:
    """Raise `PermanentError` if `value` cannot stand in a header; `where` names it in the sentence."""
    if len(value) > HEADER_CHARS_MAX:
        raise refused(f"{where} has {len(value)} characters; at most {HEADER_CHARS_MAX} fit in a header")
    if _UNSAFE.search(value):
        raise refused(f'{where} contains a line break, a control character or "=?", which could forge a header')


def refused(reason: str) -> PermanentError:
    """Build the error for a message that must not leave as it is."""
    return PermanentError(reason, code="header", address_verdict=Verdict.MESSAGE)


def recipient(address: str, name: str) -> NamedAddress:
    """Return the one recipient; an address no server can have is `PermanentError` with verdict SUPPRESS."""
    try:
        return NamedAddress(name[:_NAME_CHARS_MAX], ascii_address(address))
    except ValueError as error:
        reason = f"the recipient's address {error}"
        raise PermanentError(reason, code="address", address_verdict=Verdict.SUPPRESS) from None


def ours(value: str, *, configured: bool = False) -> NamedAddress:
    """Return a sender or reply-to of our own, "Shop <hello@shop.example>"; `PermanentError` if it is none.

    A bad sender in the settings is OUR_FAULT and concerns every message; one that a message brought (its template may have
    made it of a customer's data) concerns this MESSAGE only.
    """
    try:
        return mailbox(value)
    except ValueError as error:
        reason = f"the sender or reply-to {error}"
        verdict = Verdict.OUR_FAULT if configured else Verdict.MESSAGE
        raise PermanentError(reason, code="sender", address_verdict=verdict) from None


@functools.lru_cache(maxsize=256)
def mailbox(value: str) -> NamedAddress:
    """Parse "Name <address>" or an address alone. `ValueError`, to be read after "the … ", if it is neither.

    Whatever stands before the brackets is the name, with or without quotes: a comma in it adds no second address.
    """
    found = _MAILBOX.match(value)
    if found is None:
        return NamedAddress("", ascii_address(value.strip()))
    name, address = found.groups()
    if len(name) > 1 and name[0] == name[-1] == '"':
        name = re.sub(r"\\(.)", r"\1", name[1:-1])
    return NamedAddress(name[:_NAME_CHARS_MAX], ascii_address(address))


def ascii_address(address: str) -> str:
    """Return the address with its domain in ASCII. `ValueError` if it is none, `Unsupported` if we cannot carry it."""
    local, at, domain = address.rpartition("@")
    if not at or not local or not domain:
        raise ValueError("is not of the form name@domain")
    if len(address) > _ADDRESS_CHARS_MAX or len(local) > _LOCAL_CHARS_MAX:
        raise ValueError(f"is longer than {_ADDRESS_CHARS_MAX} characters, or than {_LOCAL_CHARS_MAX} before the @")
    if not local.isascii():
        raise Unsupported("addresses with characters beyond ASCII before the @ (SMTPUTF8)")
    if not _LOCAL.match(local):
        raise ValueError("has characters before the @ that an address cannot have")
    if not domain.isascii():
        domain = _idna(domain)
    if not _DOMAIN.match(domain) and not _DOMAIN_LITERAL.match(domain):
        raise ValueError("has no valid domain after the @")
    return f"{local}@{domain}"


@functools.lru_cache(maxsize=1_024)
def _idna(domain: str) -> str:
    if _IDNA_DEVIATIONS.search(domain):
        raise Unsupported("domains with ß, ς or joiners that are not written in their ASCII form (xn--…)")
    try:
        return domain.encode("idna").decode("ascii")
    except UnicodeError:
        raise ValueError("has no valid domain after the @") from None
