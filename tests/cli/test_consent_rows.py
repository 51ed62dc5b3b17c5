"""The table of consents: what is imported, what is refused and why, and that nothing in a file can make reading it fail."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.cli.people.consent_rows import Refused, Row, RowRules, Skipped, decoded, read
from engine.errors import UsageError

NOW_MS = 1_800_000_000_000
RULES = RowRules(origin="Old shop", purposes=frozenset({"marketing", "service"}), now_ms=NOW_MS, basis="consent")
HEADER = "customer,purpose,channel,address,given_at"
GOOD = "ana,marketing,email,Ana@Example.com,2024-05-06T07:08:09+02:00"


def taken(*lines: str, header: str = HEADER, rules: RowRules = RULES) -> list[Row | Refused]:
    return [each for each in read("\n".join((header, *lines)), rules) if not isinstance(each, Skipped)]


def test_a_good_row_becomes_a_record_that_is_always_the_same() -> None:
    """With the address normalised, the time of consent as its own, and origin and row in the proof."""
    (row,) = taken(GOOD)
    assert isinstance(row, Row)
    record = row.record
    assert (row.number, record.customer, record.action, record.purposes) == (
        2,
        "ana",
        "grant",
        {"marketing": ["email"]},
    )
    assert record.proof["address"] == "ana@example.com"
    assert (record.proof["origin"], record.proof["basis"], record.source) == ("Old shop", "consent", "import")
    assert record.time_ms == 1_714_972_089_000
    assert taken("", GOOD, rules=RULES)[0].record.id == record.id  # type: ignore[union-attr]


BAD = {
    "no customer": (",marketing,email,a@b.de,2024-05-06T07:08:09Z", "customer is empty"),
    "blank": ("  ,marketing,email,a@b.de,2024-05-06T07:08:09Z", "customer is empty"),
    "no address": ("a,marketing,email,,2024-05-06T07:08:09Z", "address is empty"),
    "no time": ("a,marketing,email,a@b.de,", "given_at is empty"),
    "purpose": ("a,news,email,a@b.de,2024-05-06T07:08:09Z", "no purpose 'news'"),
    "channel": ("a,marketing,fax,a@b.de,2024-05-06T07:08:09Z", "no channel 'fax'"),
    "at": ("a,marketing,email,ab.de,2024-05-06T07:08:09Z", "not an e-mail address"),
    "two ats": ("a,marketing,email,a@b@c.de,2024-05-06T07:08:09Z", "not an e-mail address"),
    "no domain": ("a,marketing,email,a@,2024-05-06T07:08:09Z", "not an e-mail address"),
    "no dot": ("a,marketing,email,a@localhost,2024-05-06T07:08:09Z", "not an e-mail address"),
    "space": ("a,marketing,email,a b@c.de,2024-05-06T07:08:09Z", "not an e-mail address"),
    "two dots": ("a,marketing,email,a..b@c.de,2024-05-06T07:08:09Z", "not an e-mail address"),
    "list": ('a,marketing,email,"a@b.de,c@d.de",2024-05-06T07:08:09Z', "not an e-mail address"),
    "brackets": ("a,marketing,email,<a@b.de>,2024-05-06T07:08:09Z", "not an e-mail address"),
    "hyphen": ("a,marketing,email,a@-b.de,2024-05-06T07:08:09Z", "not an e-mail address"),
    "long local": (f"a,marketing,email,{'x' * 65}@b.de,2024-05-06T07:08:09Z", "not an e-mail address"),
    "number without country": ("a,marketing,sms,01511 2345678,2024-05-06T07:08:09Z", "not a telephone number"),
    "short number": ("a,marketing,sms,+49 12,2024-05-06T07:08:09Z", "not a telephone number"),
    "letters": ("a,marketing,sms,call me,2024-05-06T07:08:09Z", "not a telephone number"),
    "mail for a number": ("a,marketing,sms,a@b.de,2024-05-06T07:08:09Z", "not a telephone number"),
    "no zone": ("a,marketing,email,a@b.de,2024-05-06T07:08:09", "with its zone"),
    "a date": ("a,marketing,email,a@b.de,2024-05-06", "with its zone"),
    "german date": ("a,marketing,email,a@b.de,06.05.2024", "with its zone"),
    "no such day": ("a,marketing,email,a@b.de,2024-02-30T00:00:00Z", "with its zone"),
    "tomorrow": ("a,marketing,email,a@b.de,2124-05-06T07:08:09Z", "in the future"),
    "too few": ("a,marketing,email", "3 fields, and the header 5"),
    "too many": ("a,marketing,email,a@b.de,2024-05-06T07:08:09Z,x", "6 fields, and the header 5"),
    "semicolons": ("a;marketing;email;a@b.de;2024-05-06T07:08:09Z", "1 fields"),
    "open quote": ('a,"marketing,email,a@b.de,2024-05-06T07:08:09Z', "quote"),
    "text after a quote": ('"a"x,marketing,email,a@b.de,2024-05-06T07:08:09Z', "quote"),
    "control": ("a\x07,marketing,email,a@b.de,2024-05-06T07:08:09Z", "control characters"),
    "nul": ("a,marketing,email,a\0@b.de,2024-05-06T07:08:09Z", "control characters"),
    "long id": (f"{'x' * 201},marketing,email,a@b.de,2024-05-06T07:08:09Z", "too long"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_row_is_refused_with_its_line_and_reason(name: str) -> None:
    """And takes neither the row before it nor the one after it along."""
    text, reason = BAD[name]
    other = GOOD.replace("ana,", "eve,")
    before, bad, after = taken(GOOD, text, other)
    assert isinstance(before, Row)
    assert isinstance(bad, Refused)
    assert isinstance(after, Row)
    assert (bad.number, after.number) == (3, 4)
    assert reason in bad.reason


def test_duplicates_are_refused_by_row_id_and_by_content() -> None:
    """The second one names the line of the first."""
    header = HEADER + ",row,basis"
    rows = [
        f"{GOOD},1,consent",
        f"{GOOD},2,contract",
        f"{GOOD.replace('ana', 'ben')},1,consent",
        f"{GOOD.replace('ana', 'cy')},,consent",
    ]
    first, same, taken_id, other = taken(*rows, header=header)
    assert isinstance(first, Row)
    assert isinstance(other, Row)
    for each in (same, taken_id):
        assert isinstance(each, Refused)
        assert "line 2" in each.reason


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_the_file_may_come_from_any_spreadsheet(delimiter: str, ending: str, encoding: str) -> None:
    """Separators, line ends, byte order marks; a wording over two lines stays one."""
    header = (HEADER + ",wording,language").replace(",", delimiter)
    row = GOOD.replace(",", delimiter) + f'{delimiter}"Ja, ich möchte{ending}das ""Blatt"""{delimiter}de'
    data = ending.join(("", header, row, "")).encode(encoding)
    found = list(read(decoded(data, encoding if encoding == "cp1252" else ""), RULES))
    assert [type(each) for each in found] == [Row], found
    assert found[0].record.proof["wording"] == 'Ja, ich möchte\ndas "Blatt"'  # type: ignore[union-attr]


def test_a_row_in_another_encoding_is_refused_alone() -> None:
    """Somebody pasted two exports together."""
    lines = [
        (HEADER + ",wording").encode(),
        (GOOD + ",möchte").encode("cp1252"),
        (GOOD.replace("ana", "eve") + ",möchte").encode(),
    ]
    bad, good = read(decoded(b"\n".join(lines)), RULES)
    assert isinstance(bad, Refused)
    assert "UTF-8" in bad.reason
    assert bad.text.isprintable()
    assert isinstance(good, Row)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "\n\n",
        "customer,purpose",
        HEADER.replace("given_at", "date"),
        HEADER + ",nickname",
        HEADER + ",customer",
        "\0",
        '"',
    ],
)
def test_a_header_that_does_not_fit_refuses_the_file(header: str) -> None:
    """Nothing is guessed."""
    with pytest.raises(UsageError) as told:
        taken(GOOD, header=header)
    assert told.value.mend


def test_without_a_basis_each_row_has_to_name_one() -> None:
    """A consent without a legal basis is none."""
    rules = RowRules(origin="x", purposes=frozenset({"marketing"}), now_ms=NOW_MS)
    with pytest.raises(UsageError, match="basis"):
        taken(GOOD, rules=rules)
    rows = [f"{GOOD},consent", f"{GOOD.replace('ana', 'ben')},", f"{GOOD.replace('ana', 'cy')},gut feeling"]
    good, empty, made_up = taken(*rows, header=HEADER + ",basis", rules=rules)
    assert isinstance(good, Row)
    assert [each.reason for each in (empty, made_up) if isinstance(each, Refused)] == [
        "basis is empty", "basis is 'gut feeling'; it may be consent, existing_customer, contract",
    ]  # fmt: skip


pieces = st.sampled_from(
    ['"', ",", ";", "\n", "\r\n", "\0", "\ufeff", GOOD, HEADER, "=cmd()", "é", "\ud800", " ", "2024-05-06T07:08:09Z"]
)


@given(st.lists(pieces | st.text(max_size=5), max_size=40))
def test_no_text_makes_reading_fail(parts: list[str]) -> None:
    """Every line with something in it is a row or is refused; numbers rise."""
    text = HEADER + "\n" + "".join(parts)
    found = list(read(text, RULES))
    numbers = [each.number for each in found]
    assert numbers == sorted(set(numbers))
    for each in found:
        assert not isinstance(each, Refused) or each.reason


@given(st.binary(max_size=300), st.booleans())
def test_no_bytes_make_reading_fail(data: bytes, with_header: bool) -> None:
    """A picture, an archive, half a file: below a header each line is a row or refused, without one the file is refused."""
    whole = HEADER.encode() + b"\n" + data if with_header else b"\x89PNG" + data
    if with_header:
        assert all(isinstance(each, Row | Refused) for each in read(decoded(whole), RULES))
    else:
        with pytest.raises(UsageError):
            list(read(decoded(whole), RULES))
