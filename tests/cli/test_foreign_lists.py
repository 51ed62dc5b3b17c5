"""Lists of other systems: read as they are, and nobody who said no becomes a consent."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import pytest

from engine.cli.people.consent_columns import ListReading
from engine.cli.people.consent_rows import Refused, Row, RowRules, Skipped, decoded, read
from engine.errors import UsageError

RULES = RowRules(
    origin="list", purposes=frozenset({"marketing"}), now_ms=1_790_000_000_000, basis="consent",
    foreign=ListReading(purpose="marketing", zone=ZoneInfo("Europe/Berlin"), given_at="2023-05-06T05:08:00Z"),
)  # fmt: skip
MAY_6 = 1_683_349_680_000
"""2023-05-06T07:08:00+02:00."""


def rows(text: str | bytes, rules: RowRules = RULES) -> list[Row | Refused | Skipped]:
    """What becomes of a file."""
    return list(read(decoded(text.encode() if isinstance(text, str) else text), rules))


def record(text: str | bytes) -> tuple[str, str, str, int]:
    """(customer, action, address, when) of the one row."""
    (row,) = rows(text)
    assert isinstance(row, Row), row
    return row.record.customer, row.record.action, row.record.proof["address"], row.record.time_ms


MAILCHIMP = (
    '"Email Address","First Name",OPTIN_TIME,CONFIRM_TIME,LAST_CHANGED,NOTES,TAGS%s\nmia@example.com,Mia,%s,"VIP"%s\n'
)
CLEVERREACH = '"E-Mail";"Registrierungsdatum";"Aktivierungsdatum";"Abmeldedatum";"Vorname"\n'
CLEVERREACH += '"mia@example.com";"06.05.2023 07:08:00";%s;"Mia"\n'
TIMES = '"2023-05-06 05:00:00","2023-05-06 05:08:00","2023-05-06 05:08:00",'


def test_what_each_service_exports() -> None:
    """Its columns, its zone, its separators, its encoding; the first line `sep=`."""
    mia = ("mia@example.com", "grant", "mia@example.com", MAY_6)
    assert record(MAILCHIMP % ("", TIMES, "")) == mia
    assert record(CLEVERREACH % '"06.05.2023 07:08:00";""') == mia
    listmonk = (
        "uuid,email,name,attributes,status,created_at\n6a,mia@example.com,M,{},enabled,2023-05-06T05:08:00.000001Z\n"
    )
    assert record(listmonk) == (
        "6a", *mia[1:],
    )  # fmt: skip
    assert record("Customer ID,Email,Accepts Email Marketing,Phone\n'42,mia@example.com,yes,'+49\n") == ("42", *mia[1:])
    excel = (
        "Kundennr;E-Mail;Nachname;Umsatz;Einwilligung am\r\n10017;mia@example.com;Müller;1.149,90;06.05.2023 07:08\r\n"
    )
    assert record(excel.encode("cp1252")) == ("10017", *mia[1:])
    assert record("\ufeff" + excel) == ("10017", *mia[1:])
    ours = "sep=;\r\ncustomer;purpose;channel;address;given_at\r\n"
    assert record(ours + "1;marketing;email;mia@example.com;2023-05-06T07:08:00+02:00\r\n") == (
        "1", *mia[1:],
    )  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        MAILCHIMP % (",UNSUB_TIME", TIMES, ',"2024-01-01 00:00:00"'),
        CLEVERREACH % '"06.05.2023 07:10:22";"01.01.2024 01:00:00"',
        "email,status,unsubscribed_at\nmia@example.com,unsubscribed,2024-01-01T00:00:00Z\n",
        "email,status,unsubscribed_at\nmia@example.com,blocklisted,2024-01-01T00:00:00Z\n",
        "E-Mail;Status;Abmeldedatum\nmia@example.com;Abgemeldet;01.01.2024 01:00\n",
    ],
)
def test_who_was_unsubscribed_becomes_an_objection(text: str) -> None:
    """At the time of it."""
    assert record(text) == ("mia@example.com", "withdraw", "mia@example.com", 1_704_067_200_000)


@pytest.mark.parametrize(
    "text",
    [
        MAILCHIMP % (",CLEAN_TIME", TIMES, ',"2024-01-01 00:00:00"'),
        MAILCHIMP % ("", '"2023-05-06 05:00:00",,"2023-05-06 05:08:00",', ""),
        CLEVERREACH % '"";""',
        "email,status\nmia@example.com,cleaned\n",
        "email,status\nmia@example.com,pending\n",
        "email,status\nmia@example.com,Non-Subscribed\n",
        "Email,Accepts Email Marketing\nmia@example.com,no\n",
    ],
)
def test_who_was_never_asked_or_bounced_is_left_out(text: str) -> None:
    """Neither consent nor objection."""
    assert [type(row) for row in rows(text)] == [Skipped]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("email,status\nmia@example.com,vip\n", "not understood"),
        ("email,Newsletter\nmia@example.com,Unsubscribed\n", "says 'Unsubscribed'"),
        ("email,created_at\nmia@example.com,03/04/2023\n", "one way only"),
        ("email,created_at\nnot an address,2023-05-06\n", "e-mail address"),
        ("email,created_at\nmia@example.com,2031-01-01\n", "future"),
    ],
)
def test_what_is_not_understood_is_refused(text: str, why: str) -> None:
    """A status, a cell, a time: never guessed to be a yes."""
    (row,) = rows(text)
    assert isinstance(row, Refused)
    assert why in row.reason


def test_a_list_has_to_say_what_it_is_about() -> None:
    """A column about consent that nobody knows, a missing purpose, a missing time: before any row is read."""
    blank = RowRules(origin="list", purposes=frozenset({"marketing"}), now_ms=1, basis="consent")
    for text, rules, why in (
        ("email,Newsletter-Einwilligung\nmia@example.com,ja\n", RULES, "seems to be about consent"),
        ("email,status\nmia@example.com,yes\n", blank, "what the consents are for"),
    ):
        with pytest.raises(UsageError, match=why):
            rows(text, rules)
