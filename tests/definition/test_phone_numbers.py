"""Telephone numbers at intake: read with the customer's country or the project's, refused with a reason and alone."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.clock import ManualClock
from engine.collector.intake.foreign import parse_foreign
from engine.collector.intake.parse import Envelope, parse_item
from engine.core.record import Identify, Record
from engine.definition.load import load_files
from engine.definition.phone_numbers import TWO_READINGS, read_number, with_phone_numbers
from engine.runtimes.base import Query
from engine.runtimes.embedded import EmbeddedRuntime
from engine.runtimes.memory_ports import MemoryRuntime

T0 = 1_774_600_000_000
GOOD = [
    ("+4915112345678", "", "+4915112345678"),
    ("0151 12345678", "DE", "+4915112345678"),
    ("0151/1234 56-78", "DE", "+4915112345678"),
    ("(0151) 12345678", "DE", "+4915112345678"),
    ("+49 (0)151 12345678", "", "+4915112345678"),
    ("0049 151 12345678", "", "+4915112345678"),
    ("0049 151 12345678", "US", "+4915112345678"),
    ("00 49 151 12345678", "AT", "+4915112345678"),
    ("  +49 151 12345678\t", "", "+4915112345678"),
    ("+49\u00a0151\u201012345678", "", "+4915112345678"),
    ("＋４９１５１１２３４５６７８", "", "+4915112345678"),
    ("0664 1234567", "AT", "+436641234567"),
    ("079 123 45 67", "CH", "+41791234567"),
    ("(212) 555-0123", "US", "+12125550123"),
    ("030 123456", "DE", "+4930123456"),
    ("4915112345678", "DE", "+4915112345678"),
    ("49 151 12345678", "DE", "+4915112345678"),
    ("49 (0)151 12345678", "DE", "+4915112345678"),
    ("498912345678", "DE", "+498912345678"),
    ("436641234567", "AT", "+436641234567"),
    ("447911123456", "GB", "+447911123456"),
    ("14155552671", "US", "+14155552671"),
    ("458 223 4567", "US", "+14582234567"),
    ("393331234567", "IT", "+393331234567"),
    ("333 1234567", "IT", "+393331234567"),
    ("151 12345678", "DE", "+4915112345678"),
    ("15123456789", "DE", "+4915123456789"),
    ("tel:+4915112345678", "", "+4915112345678"),
    ("TEL:0151-12345678", "DE", "+4915112345678"),
    ("tel:0151-12345678;phone-context=+49", "", "+4915112345678"),
    ("(+49) 151 12345678", "", "+4915112345678"),
    ("'+4915112345678", "", "+4915112345678"),
]
BAD = [
    "", " ", "0", "-", "+", "++49151", "abc", "unknown", "n/a", "0151 1234567a", "ana@example.com", "12", "110", "+49", "+49 151",
    "+49151123456789012345", "9" * 70, "+999 123456789", "+0 151 12345678", "0151 12345678 ext. 5", "0151 12345678;ext=5",
    "0900 1234567", "0800 1234567", "0180 5 123456", "+15550001111", "0000000000", "+4915112345678\x00",
    "+49 151 12345678, 0152 12345678", "☎ 0151 12345678x", "1e10", "٠١٥١", "+491511234567", "0151", "--0151--",
]  # fmt: skip


@pytest.mark.parametrize(("text", "country", "number"), GOOD)
def test_numbers_as_people_write_them(text: str, country: str, number: str) -> None:
    """Spaces, slashes, brackets, the zero in brackets, wide digits, a foreign prefix: all the same number."""
    assert read_number(text, country) == (number, "")


@pytest.mark.parametrize("text", BAD)
def test_numbers_of_every_bad_kind(text: str) -> None:
    """No number, too short or long, of no country, a service, an extension: each with a reason that does not repeat it."""
    number, reason = read_number(text, "DE")
    assert number == ""
    assert reason
    assert not re.search(r"\d{3}", reason)


def test_without_a_country_a_national_number_is_none() -> None:
    """Nobody guesses."""
    assert read_number("0151 12345678", "") == (
        "", "it begins with no country's code, and the customer's country is not known",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "country"),
    [
        ("436641234567", "DE"),  # Austria's mobile number, or one of Schleswig-Holstein without its zero
        ("04915112345678", "DE"),  # of Leer, or a mobile number with the country's code behind a zero too many
        ("049 151 12345678", "DE"),
        ("491511234567", "DE"),  # a digit is missing; without its zero it would be somebody's landline
    ],
)
def test_two_possible_readings_are_none(text: str, country: str) -> None:
    """A stranger's number is worse than none."""
    number, reason = read_number(text, country)
    assert number == ""
    assert reason in {TWO_READINGS, "no such number is given out"}


@given(
    st.text() | st.from_regex(r"(\+|00|0|tel:)?[0-9 ()/-]{5,18}", fullmatch=True),
    st.sampled_from(["", "DE", "US", "AT", "IT"]),
)
def test_any_text_is_a_number_or_has_a_reason(text: str, country: str) -> None:
    """One of both, whatever it is; what was read is read again as itself."""
    number, reason = read_number(text, country)
    assert bool(number) != bool(reason)
    if number:
        assert re.fullmatch(r"\+[1-9][0-9]{5,14}", number)
        assert read_number(number, "") == (number, "")


def _runtime(policy: bytes = b"policy: default\nzone: Europe/Berlin\n") -> MemoryRuntime:
    loaded = load_files([("workflows/policy.yaml", policy)])
    assert loaded.catalog is not None, loaded.problems
    return MemoryRuntime(with_phone_numbers(loaded.catalog), clock=ManualClock(T0))


def _http(traits: bytes) -> list[Record]:
    raw = b'{"type": "identify", "userId": "ana", "messageId": "m%d", "traits": %b}' % (len(traits), traits)
    return parse_item(raw, Envelope(received_ms=T0))


def _kafka(traits: bytes) -> list[Record]:
    raw = b'{"type": "identify", "userId": "ana", "messageId": "m%d", "traits": %b}' % (len(traits), traits)
    return parse_foreign(b"ana", raw, {}, T0)


@pytest.mark.parametrize("way", [_http, _kafka], ids=["http", "kafka"])
async def test_a_bad_number_costs_nothing_but_itself(way: object) -> None:
    """By HTTP and by Kafka alike: name and consent are kept, the old number too; the journal says why, without the number."""
    assert callable(way)
    runtime = _runtime()
    await runtime.append(way(b'{"phone": "0151 12345678"}'))
    await runtime.append(way(b'{"phone": "0151 12", "name": "Ana", "consent": {"marketing": ["sms"]}}'))
    state = await runtime.state("ana")
    assert state is not None
    assert state.traits == {"phone": "+4915112345678", "name": "Ana"}
    assert state.consent["marketing"]["sms"].address == "+4915112345678"
    ((_, line),) = await runtime.decisions(Query(customer="ana", kinds=("trait_refused",)))
    assert line.detail == {"trait": "phone", "reason": "no such number is given out"}


@pytest.mark.parametrize(
    ("policy", "before", "with_it", "number"),
    [
        (b"policy: p\nzone: Europe/Berlin\n", {}, {}, "+49664123456"),
        (b"policy: p\nzone: Europe/Berlin\ncountry: AT\n", {}, {}, "+43664123456"),
        (b"policy: p\nzone: Europe/Berlin\n", {"country": "at"}, {}, "+43664123456"),
        (b"policy: p\nzone: Europe/Berlin\n", {"country": "DE"}, {"country": "AT"}, "+43664123456"),
        (b"policy: p\ncountry: AT\n", {"country": "Atlantis"}, {}, None),
        (b"policy: p\ncountry: AT\n", {}, {"country": "Atlantis"}, None),
        (b"policy: p\ncountry: AT\n", {"country": "DE"}, {"country": "Atlantis"}, None),
        (b"policy: p\ncountry: DE\n", {}, {"country": "Austria"}, "+43664123456"),
        (b"policy: p\ncountry: DE\n", {}, {"country": "AUT"}, "+43664123456"),
        (b"policy: p\ncountry: DE\n", {}, {"address": {"country": "Österreich"}}, "+43664123456"),
        (b"policy: p\ncountry: DE\n", {}, {"address": {"country": "Atlantis"}}, None),
        (b"policy: p\ncountry: DE\n", {}, {"country": 43}, None),
        (b"policy: p\ncountry: AT\n", {"country": "Atlantis"}, {"country": None}, "+43664123456"),
        (b"policy: p\n", {}, {}, None),
    ],
)
async def test_which_country_counts(
    policy: bytes, before: dict[str, str], with_it: dict[str, str], number: str | None
) -> None:
    """That of this record, of the customer, of the policy, of the project's zone; else none."""
    runtime = _runtime(policy)
    for at, traits in enumerate([before, {"phone": "0664 123456", **with_it}]):
        await runtime.append([Identify(customer="ana", at_ms=T0, id=f"i{at}", time_ms=T0, traits=traits)])
    state = await runtime.state("ana")
    assert state is not None
    assert state.traits.get("phone") == number


@pytest.mark.parametrize("value", [4915112345678, 1.5, True, [], {"de": "0151"}])
async def test_what_is_no_text_is_refused(value: object) -> None:
    """A number without its zero is another number: nobody guesses."""
    runtime = _runtime()
    await runtime.append(
        [Identify(customer="ana", at_ms=T0, id="i", time_ms=T0, traits={"phone": value, "name": "Ana"})]
    )
    state = await runtime.state("ana")
    assert state is not None
    assert state.traits == {"name": "Ana"}


async def test_null_removes_the_number() -> None:
    """As of every trait."""
    runtime = _runtime()
    for at, phone in enumerate(["0151 12345678", None]):
        await runtime.append([Identify(customer="ana", at_ms=T0, id=f"i{at}", time_ms=T0, traits={"phone": phone})])
    state = await runtime.state("ana")
    assert state is not None
    assert "phone" not in state.traits


async def test_the_embedded_runtime_does_the_same(tmp_path: Path) -> None:
    """By the same code, and durable."""
    runtime = EmbeddedRuntime(tmp_path, _runtime().catalog, clock=ManualClock(T0))
    await runtime.start()
    await runtime.append([Identify(customer="ana", at_ms=T0, id="i", time_ms=T0, traits={"phone": "0151 12345678"})])
    await runtime.append([Identify(customer="ben", at_ms=T0, id="i", time_ms=T0, traits={"phone": "nonsense"})])
    await runtime.idle()
    ana, ben = await runtime.state("ana"), await runtime.state("ben")
    await runtime.stop()
    assert ana is not None
    assert ana.traits == {"phone": "+4915112345678"}
    assert ben is None or "phone" not in ben.traits


def test_a_country_that_is_none_is_said_in_the_policy() -> None:
    """With the place."""
    loaded = load_files([("workflows/policy.yaml", b"policy: p\ncountry: ZZ\n")])
    (problem,) = loaded.problems
    assert problem.line == 2
    assert "ZZ" in problem.message
