"""What becomes of values that come in: read, or refused by themselves with a line; on the runtime, with a compiled policy."""

from __future__ import annotations

from typing import Any

import pytest

from engine.clock import ManualClock
from engine.collector.intake.parse import Envelope, parse_item
from engine.core.facts.usable import unusable
from engine.core.record import Consent, Event, Identify
from engine.definition.load import load_files
from engine.definition.phone_numbers import with_phone_numbers
from engine.errors import BadRecord
from engine.runtimes.base import Query
from engine.runtimes.memory_ports import MemoryRuntime

T0 = 1_790_000_000_000
POLICY = b"policy: p\nzone: Europe/Berlin\npurposes:\n  marketing: {consent: opt_in}\n  service: {consent: none}\n"
SPENT = b"segments:\n  big: {where: \"sum('Order Completed', 'total') >= 1000\"}\n"
SPENT += b"  camel: {where: \"customer.firstName == 'Mia'\"}\n"


def runtime() -> MemoryRuntime:
    """A shop in Germany."""
    loaded = load_files([("workflows/policy.yaml", POLICY), ("workflows/segments.yaml", SPENT)])
    assert loaded.catalog is not None, loaded.problems
    return MemoryRuntime(with_phone_numbers(loaded.catalog), clock=ManualClock(T0))


async def told(shop: MemoryRuntime, *each: dict[str, Any]) -> Any:
    """The customer's state after these traits, one record after the other."""
    for at, traits in enumerate(each):
        await shop.append([Identify(customer="u", at_ms=T0 + at, id=f"i{at}", time_ms=T0 + at, traits=traits)])
    return await shop.state("u")


async def refused(shop: MemoryRuntime) -> list[dict[str, Any]]:
    """What the journal says was refused."""
    return [
        line.detail for _, line in await shop.decisions(Query(customer="u", kinds=("trait_refused", "value_skipped")))
    ]


GOOD = {
    "email": "mia@example.com", "phone": "+4915112345678", "birthday": "1990-06-12", "timezone": "Europe/Vienna", "country": "AT",
    "locale": "de-AT", "created_at": "2026-03-27T09:00:00Z",
}  # fmt: skip


@pytest.mark.parametrize(
    ("trait", "bad"),
    [
        ("email", "not an address"), ("email", 7), ("phone", "0151 (home)"), ("phone", 4915112345678), ("birthday", "06/12/1990"),
        ("birthday", {"day": 1}), ("timezone", "CST"), ("timezone", 2), ("country", "Atlantis"), ("country", ["DE"]),
        ("locale", "xx"),
        ("created_at", "soon"), ("created_at", 46_107), ("created_at", "1970-01-01"), ("created_at", "2126-01-01"),
    ],
)  # fmt: skip
async def test_what_cannot_be_read_leaves_the_old_value(trait: str, bad: object) -> None:
    """The rest of the record counts; the journal has one line, which does not repeat it; the state remembers why."""
    shop = runtime()
    state = await told(shop, GOOD, {trait: bad, "first_name": "Mia"})
    assert state.traits == {**GOOD, "first_name": "Mia"}
    (line,) = await refused(shop)
    assert line["trait"] == trait
    assert str(bad) not in line["reason"]
    assert state.refused == {trait: line["reason"]}
    await shop.append([Identify(customer="u", at_ms=T0 + 9, id="again", time_ms=T0 + 9, traits={trait: GOOD[trait]})])
    state = await shop.state("u")
    assert state is not None
    assert state.refused == {}


@pytest.mark.parametrize("blank", ["", "  ", "\u00a0"])
async def test_a_blank_text_says_nothing_and_null_removes(blank: str) -> None:
    """Shops send all fields of a form."""
    shop = runtime()
    state = await told(shop, GOOD, dict.fromkeys(GOOD, blank))
    assert state.traits == GOOD
    assert await refused(shop) == []
    assert (await told(runtime(), GOOD, dict.fromkeys(GOOD))).traits == {}


async def test_values_are_stored_in_their_canonical_form_under_one_name() -> None:
    """Whatever the shop calls them."""
    state = await told(
        runtime(),
        {
            "country": "Österreich", "phone": "0664 1234567", "birthday": "12.06.1990", "timezone": "europe/vienna",
            "locale": "de_AT",
            "createdAt": 1_774_602_000, "firstName": "Mia", "lastName": "M", "email": " mia@example.com ",
            "address": {"postal_code": "1010", "country": "Austria"},
        },
    )  # fmt: skip
    assert state.traits == {
        **GOOD, "phone": "+436641234567", "first_name": "Mia", "last_name": "M",
        "address": {"postalCode": "1010", "country": "Austria"},
    }  # fmt: skip
    assert "camel" in state.segments


async def test_names_that_were_stored_before_are_read_and_replaced() -> None:
    """A store of an earlier version holds `firstName`: it is read, and does not outlive the next `first_name`."""
    shop = runtime()
    await told(shop, {"nick": "M"})
    shop.memory.states["u"].traits = {"firstName": "Mia"}
    for at, traits in enumerate([{"city": "B"}, {"firstName": "Mia"}, {"first_name": "New"}], 9):
        await shop.append([Identify(customer="u", at_ms=T0 + at, id=f"n{at}", time_ms=T0 + at, traits=traits)])
    state = await shop.state("u")
    assert state is not None
    assert state.traits == {"city": "B", "first_name": "New"}


def test_what_was_stored_before_is_judged_where_it_is_shown() -> None:
    """For pages and `anlass show`."""
    found = unusable(runtime().catalog, {**GOOD, "email": "nobody", "timezone": "CST", "nick": "x"}, now_ms=T0)
    assert sorted(found) == ["email", "timezone"]


@pytest.mark.parametrize("trait", ["consent", "consent_request"])
@pytest.mark.parametrize(
    ("names", "mend"), [({"marketting": ["email"]}, "marketing"), ({"marketing": ["emial"]}, "email")]
)
async def test_nothing_unknown_reaches_the_ledger(trait: str, names: dict[str, list[str]], mend: str) -> None:
    """Neither by traits nor by forms or files; the line names the nearest. What is known beside it counts."""
    shop = runtime()
    both = {**names, "marketing": [*names.get("marketing", []), "sms"]}
    state = await told(shop, {trait: both, "phone": "+4915112345678", "email": "mia@example.com"})
    assert list(state.consent) == ["marketing"]
    assert list(state.consent["marketing"]) == ["sms"]
    (line,) = await refused(shop)
    assert f"did you mean `{mend}`?" in line["reason"]
    await shop.append([
        Consent(customer="u", at_ms=T0, id="c", time_ms=T0, action="grant", purposes=names, source="import", proof={}),
        Consent(customer="u", at_ms=T0, id="d", time_ms=T0, action="confirm", purposes=names, source="link", proof={}),
    ])  # fmt: skip
    assert [(one.purpose, one.channel) for one in await shop.consents(customer="u")] == [("marketing", "sms")]


def test_http_refuses_misspelt_consent_with_the_nearest_name() -> None:
    """400 with the place: a shop must not believe that it was given."""
    raw = b'{"userId": "u", "traits": {"consent": {"marketing": ["email", "smss"]}}}'
    envelope = Envelope(received_ms=T0, kind="identify", catalog=runtime().catalog)
    with pytest.raises(BadRecord) as caught:
        parse_item(raw, envelope)
    assert (caught.value.code, caught.value.where) == ("unknown_channel", "traits.consent")
    assert "did you mean `sms`?" in str(caught.value)
    with pytest.raises(BadRecord, match="did you mean `marketing`"):
        parse_item(raw.replace(b"marketing", b"marketting"), envelope)
    assert parse_item(raw.replace(b'"consent"', b'"consent_withdraw"'), envelope)


@pytest.mark.parametrize(
    ("stamp", "at_ms"),
    [
        (b"1789999000", 1_789_999_000_000), (b'"1789999000"', 1_789_999_000_000), (b"1789999000000", 1_789_999_000_000),
        (b"1789999000000000", 1_789_999_000_000), (b"1789999000000000000", 1_789_999_000_000), (b"1790050000000", T0),
        (b'"Mon, 21 Sep 2026 13:56:40 GMT"', 1_789_999_000_000), (b"1790000", None), (b"0", None),
        (b'"1999-12-31T23:59:59Z"', None),
        (b'"2026-09-23T00:00:00Z"', None), (b'"03/04/2026"', None), (b"-1790000000", None), (b"true", None),
    ],
)  # fmt: skip
def test_when_it_happened(stamp: bytes, at_ms: int | None) -> None:
    """Units by size; before 2000 and more than a day ahead is refused with the place; up to a day ahead is now."""
    raw = b'{"type": "track", "userId": "u", "event": "E", "timestamp": %b}' % stamp
    if at_ms is None:
        with pytest.raises(BadRecord) as caught:
            parse_item(raw, Envelope(received_ms=T0))
        assert (caught.value.code, caught.value.where) == ("invalid_time", "timestamp")
    else:
        (record,) = parse_item(raw, Envelope(received_ms=T0))
        assert isinstance(record, Event)
        assert record.time_ms == at_ms


def test_a_proof_says_when_in_a_time_that_can_be_read() -> None:
    """A confirmation in 1970 or next year confirms nothing."""
    raw = b'{"userId": "u", "traits": {"consent": {"marketing": ["email"]}, "consent_proof": {"confirmed_at": "%b"}}}'
    envelope = Envelope(received_ms=T0, kind="identify")
    for good in (b"2026-03-27T09:00:00Z", b"1774602000"):
        assert parse_item(raw % good, envelope)
    for bad in (b"yesterday", b"03/04/2026", b"1970-01-01", b"2028-01-01"):
        with pytest.raises(BadRecord, match="confirmed_at"):
            parse_item(raw % bad, envelope)


async def test_a_sum_says_what_it_skipped() -> None:
    """`600.00` is a number, `600,00` is not guessed at: it adds nothing, and the journal says so."""
    shop = runtime()
    for at, total in enumerate(["600.00", "600,00", None, "", 400]):
        await shop.append([
            Event(customer="u", at_ms=T0, id=f"e{at}", name="Order Completed", time_ms=T0 - 100 + at, properties={"total": total})
        ])  # fmt: skip
    state = await shop.state("u")
    assert state is not None
    assert "big" in state.segments
    ((line),) = await refused(shop)
    assert (line["event"], line["property"]) == ("Order Completed", "total")
