"""Lists of other systems: their columns, their words for a status, their times, as rows of our own table of consents.

Invariant: only a row that says yes, or whose list says no such thing of anybody, becomes consent. Who was unsubscribed becomes
an objection; who was never confirmed, bounced or never asked is left out; a status or a column about consent that is not
understood is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from zoneinfo import ZoneInfo

import msgspec

from engine.core.channel import by_trait
from engine.core.time.zone import UTC, parse_time, rfc3339
from engine.errors import BadRecord, UsageError

WORDS = {
    "customer": "customer customerid kundennr kundennummer kundenid userid uuid externalid contactid",
    "email": "email emailaddress emailadresse mail mailadresse",
    "phone": "phone phonenumber telefon telefonnummer handy mobil mobile mobilephone",
    "given_at": "givenat einwilligungam consentat consentdate optindate createdat",
    "requested_at": "requestedat registrierungsdatum optintime subscribedat anmeldedatum",
    "confirmed_at": "confirmedat aktivierungsdatum confirmtime bestaetigtam doubleoptindate",
    "withdrawn_at": "withdrawnat abmeldedatum unsubtime unsubscribedat optoutdate",
    "cleaned_at": "cleantime bouncedat",
    "changed_at": "lastchanged updatedat",
    "status": "status subscriptionstatus emailmarketingconsent emailsubscriptionstatus",
    "accepts_email": "acceptsemailmarketing acceptsmarketing",
    "accepts_sms": "acceptssmsmarketing",
    "form": "quelle source",
    "ip": "confirmip",
}
_COLUMNS = {word: name for name, words in WORDS.items() for word in words.split()}
_UTC_COLUMNS = frozenset({"optintime", "confirmtime", "unsubtime", "lastchanged", "cleantime"})
"""Times of Mailchimp's exports, which are UTC without saying so."""
_MARK_WORDS = """
unsub abmeld optout status block bounce clean withdraw widerruf consent einwilligung subscri
"""
_MARKS = tuple(_MARK_WORDS.split())
_YES_WORDS = """
yes ja true 1 subscribed enabled active aktiv confirmed bestaetigt granted optin optedin
"""
YES = frozenset(_YES_WORDS.split())
_NO_WORDS = """
no nein false 0 cleaned bounced pending unconfirmed nonsubscribed neversubscribed notsubscribed disabled inactive inaktiv archived
transactional deleted invalid
"""
NO = frozenset(_NO_WORDS.split())
_OBJECTION_WORDS = """
unsubscribed abgemeldet optout optedout withdrawn widerrufen blocklisted blacklisted blocked gesperrt complained spam
"""
OBJECTED = frozenset(_OBJECTION_WORDS.split())
_NEVER = OBJECTED | frozenset({"cleaned", "bounced", "unconfirmed", "nonsubscribed"})
_UMLAUTS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss"})


class ListReading(msgspec.Struct, frozen=True, kw_only=True):
    """What a list of another system does not say: for which purpose and channel, in which zone its clocks are, and since when."""

    purpose: str = ""
    channel: str = "email"
    zone: ZoneInfo = UTC
    given_at: str = ""


class LeftOut(Exception):
    """A row that says nothing for anybody: no consent, and no objection either."""


def folded(text: str) -> str:
    """The letters and digits of a name or a word."""
    return "".join(char for char in text.casefold().translate(_UMLAUTS) if char.isalnum())


def is_foreign(names: list[str], known: tuple[str, ...]) -> bool:
    """Whether a header is another system's: it names an address in its words, and has what ours does not."""
    return any(name not in known for name in names) and any(
        _COLUMNS.get(folded(name)) in ("email", "phone") for name in names
    )


def check_header(names: list[str], reading: ListReading) -> None:
    """Refuses a column about consent that is not understood, and a list without what it leaves open. Raises UsageError."""
    doubtful = [name for name in names if folded(name) not in _COLUMNS and any(mark in folded(name) for mark in _MARKS)]
    if doubtful:
        raise UsageError(
            f"The column {doubtful[0][:60]!r} seems to be about consent, but is not understood.",
            mend="Call it status, withdrawn_at, confirmed_at or given_at, or remove it.",
        )
    if not reading.purpose:
        raise UsageError(
            "The file does not say what the consents are for.",
            mend="Name a purpose of the policy: --purpose marketing.",
        )
    found = {_COLUMNS.get(folded(name)) for name in names}
    if not found & {"given_at", "requested_at", "confirmed_at"} and not reading.given_at:
        raise UsageError(
            "The file does not say when consent was given.", mend="Name the time for all rows: --given-at TIME."
        )


def as_ours(row: Mapping[str, str], reading: ListReading, now_ms: int, *, confirms: bool) -> dict[str, str]:
    """A row by its own column names, as one by ours; `confirms`: the list has a column for confirmations.

    Raises LeftOut, or BadRecord for what is not understood.
    """
    told: dict[str, str] = {}
    times: dict[str, str] = {}
    for name, value in row.items():
        column, text = _COLUMNS.get(folded(name)), value.strip().removeprefix("'")
        if not text:
            continue
        if column is None:
            if folded(text) in _NEVER:
                raise BadRecord("status", f"{name[:40]} says {text[:40]!r}; call the column status, or remove it")
        elif column.endswith("_at"):
            times[column] = _moment(text, name, UTC if folded(name) in _UTC_COLUMNS else reading.zone)
        else:
            told[column] = text
    by_phone = reading.channel in by_trait("phone")
    address = told.get("phone" if by_phone else "email", "")
    ours: dict[str, str] = {
        "customer": told.get("customer", address), "purpose": reading.purpose, "channel": reading.channel, "address": address,
        **{name: told[name] for name in ("form", "ip") if name in told},
    }  # fmt: skip
    status = _status(told, times, by_phone=by_phone, has_confirmation=confirms)
    if status == "withdraw":
        return {
            **ours,
            "action": "withdraw",
            "given_at": times.get("withdrawn_at") or times.get("changed_at") or rfc3339(now_ms),
        }
    proofs: dict[str, str] = {name: times[name] for name in ("requested_at", "confirmed_at") if name in times}
    given = times.get("given_at") or times.get("confirmed_at") or times.get("requested_at") or reading.given_at
    return {**ours, **proofs, "given_at": given}


def has_confirmations(names: list[str]) -> bool:
    """Whether the list says when each was confirmed: an empty field means never."""
    return any(_COLUMNS.get(folded(name)) == "confirmed_at" for name in names)


def _status(told: Mapping[str, str], times: Mapping[str, str], *, by_phone: bool, has_confirmation: bool) -> str:
    """`grant` or `withdraw`; raises LeftOut or BadRecord."""
    words = [told[name] for name in ("status", "accepts_sms" if by_phone else "accepts_email") if name in told]
    for word in words:
        if folded(word) not in YES | NO | OBJECTED:
            raise BadRecord("status", f"its status {word[:40]!r} is not understood")
    if "withdrawn_at" in times or any(folded(word) in OBJECTED for word in words):
        return "withdraw"
    if (
        "cleaned_at" in times
        or any(folded(word) in NO for word in words)
        or (has_confirmation and "confirmed_at" not in times)
    ):
        raise LeftOut
    return "grant"


def _moment(text: str, name: str, zone: ZoneInfo) -> str:
    at_ms = parse_time(text, zone)
    if at_ms is None:
        raise BadRecord("time", f"{name[:40]} is not a time that can be read in one way only")
    return rfc3339(at_ms)
